// The system's view of files: errnos as results, file handles, names of open descriptors.
//
// Threads: any. Failure: errno untouched, as the functions say. Cost: one system call, two for
// path_of_descriptor().
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::fs {

// ---- an errno as the error of a result, without a text to allocate. A full Error (base/result.h) is
// made where somebody will read it.

struct Errno {
  int value = 0;
};

[[noreturn]] inline void throw_exception_from_error(const Errno& error,
                                                    const boost::source_location& /*where*/) {
  throw BadResult(errno_error("system call", error.value));
}

template <class T>
class [[nodiscard]] OsResult : public boost::system::result<T, Errno> {
 public:
  using boost::system::result<T, Errno>::result;
};

[[nodiscard]] inline Errno last_errno() { return Errno{errno}; }

// ---- name_to_handle_at(2), open_by_handle_at(2): a file's name that outlives its path, its
// descriptors and this process, for as long as the file itself

// As in struct file_handle. Length 0: there is none.
struct FileHandle {
  static constexpr uint32_t kMaxBytes = 48;  // ext4 and tmpfs need 8 and 12, btrfs 20
  int32_t type = 0;
  uint32_t length = 0;
  std::array<unsigned char, kMaxBytes> bytes{};

  [[nodiscard]] bool is_sound() const { return length <= kMaxBytes; }
  friend bool operator==(const FileHandle& a, const FileHandle& b) {
    return a.type == b.type && a.length == b.length &&
           std::memcmp(a.bytes.data(), b.bytes.data(), a.length) == 0;
  }
};

// The handle of what `fd` is open on; length 0 if the file system gives none (of our size).
[[nodiscard]] FileHandle handle_of(int fd);

// `mount_fd`: anything that is open (not O_PATH) on the same file system. Needs
// CAP_DAC_READ_SEARCH. ESTALE if the file is gone; a removed file is found for as long as anybody
// holds it open.
[[nodiscard]] Fd open_handle(int mount_fd, const FileHandle& handle, int flags);

// ---- /proc/self/fd/N, for calls that want a path

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
