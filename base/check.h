// What must hold, or the program is wrong. Both checks end the process, with the place, in every
// build without -DNDEBUG (asan, tsan, fuzz). What a user, a disk or another node can cause is no
// check but an Error.
//
// DCHECK(condition): in release and cfi it is compiled and not evaluated, so it may cost something.
//
// ReactorMark: the reactor must not wait for a disk, as that would hold up everybody. A thread that
// runs the reactor is marked meanwhile, and FileIo calls on_disk_wait(path) before each system
// call. In release a wait is counted and logged. A mark is of the thread that made it. Cost: a
// thread-local read.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define SHUFFLEFS_PRINT_STACK() __sanitizer_print_stack_trace()
#endif
#endif
#ifndef SHUFFLEFS_PRINT_STACK
#define SHUFFLEFS_PRINT_STACK() static_cast<void>(0)
#endif

namespace shufflefs {

[[noreturn]] inline void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
  SHUFFLEFS_PRINT_STACK();
  std::abort();
}

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

#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define DCHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::shufflefs::check_failed(__FILE__, __LINE__, #condition))
#endif
