// File descriptors that close themselves, and paths that are opened without following symbolic
// links. Users write below the data directories (local/, maps/), and may at any moment replace a
// directory of theirs by a link to somewhere else: a path with a link anywhere in it is an error
// (ELOOP).
//
// Threads: Fd is not thread-safe, the functions are. Failure: errno, as of the system calls; errors
// of close(2) are ignored. Cost: one openat2 a path; on kernels and in sandboxes without it, one
// openat for each component.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace shufflefs {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// As open(2) of an absolute path, always with O_CLOEXEC. A link as the last component is an error
// as well, but for O_PATH | O_NOFOLLOW, which opens the link itself.
[[nodiscard]] Fd open_resolved(const std::string& path, int flags, mode_t mode = 0);

// The directory that holds a name, for the ...at() calls, and the name.
struct ResolvedName {
  Fd directory;  // none: errno says why
  std::string name;
};
[[nodiscard]] ResolvedName resolve_parent(const std::string& path);

}  // namespace shufflefs
