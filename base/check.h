// DCHECK(condition): what must hold, or the program is wrong. It ends the process, with the place
// and the condition, in every build without -DNDEBUG: the presets dev, asan, tsan and fuzz. In
// release and cfi it is compiled and not evaluated, so it may cost something. What a user, a disk
// or another node can cause is no DCHECK but an Error.
#pragma once

#include <cstdio>
#include <cstdlib>

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

}  // namespace shufflefs

#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define DCHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::shufflefs::check_failed(__FILE__, __LINE__, #condition))
#endif
