// Finds waits for a disk on the reactor, which would hold up everybody. A thread that runs the
// reactor is marked meanwhile, and FileIo says on_disk_wait(path) before each system call. On a
// marked thread that ends the process in builds with DCHECK (base/check.h); in release it is
// counted and logged.
//
// Threads: a mark is of the thread that made it, and destroyed there. Cost: a thread-local read.
#pragma once

#include <cstdint>
#include <string_view>

namespace shufflefs {

// This thread runs the reactor as long as it exists.
class ReactorMark {
 public:
  ReactorMark();
  ~ReactorMark();
  ReactorMark(const ReactorMark&) = delete;
  ReactorMark& operator=(const ReactorMark&) = delete;

 private:
  const bool before_;
};

// As long as it exists, this thread may wait for a disk though it runs the reactor. The reason is
// for the reader: why nobody is held up, or why there is no other way.
class AllowDiskWait {
 public:
  explicit AllowDiskWait(const char* reason);
  ~AllowDiskWait();
  AllowDiskWait(const AllowDiskWait&) = delete;
  AllowDiskWait& operator=(const AllowDiskWait&) = delete;

 private:
  const bool before_;
};

// To be called before what may wait for the disk of `path`.
void on_disk_wait(std::string_view path);

// How often a reactor has waited in this process.
[[nodiscard]] uint64_t reactor_disk_waits();

}  // namespace shufflefs
