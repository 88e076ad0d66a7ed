// Names for things that we hold only a descriptor of: /proc/self/fd/N, to be used with calls that
// want a path, and where that leads to at the moment.
//
// Threads: any. Ownership: values. Failure: an empty string. Cost: one readlink and one stat for
// path_of_descriptor.
#pragma once

#include <array>
#include <string>

namespace shufflefs::fs {

// A path of an open descriptor. With O_PATH descriptors of symbolic links it names the link itself.
class ProcPath {
 public:
  explicit ProcPath(int fd);
  [[nodiscard]] const char* get() const { return text_.data(); }

 private:
  std::array<char, 32> text_{};
};

// The absolute path of the open file or directory; empty if it has none (unlinked, or the kernel
// lost the way to it).
[[nodiscard]] std::string path_of_descriptor(int fd);

}  // namespace shufflefs::fs
