#include "tests/net/allocations.h"

#include <cstdlib>
#include <new>

namespace {
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): operator new has no other
// place
thread_local std::size_t allocated = 0;
}  // namespace

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
// The sanitizers bring an operator new of their own, which is worth more here than ours; they tell.
#include <sanitizer/allocator_interface.h>

namespace shufflefs::net::testing {
std::size_t allocated_bytes() {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, std::size_t size) { allocated += size; },
      [](const volatile void*) {});
  return installed > 0 ? allocated : 0;
}
}  // namespace shufflefs::net::testing

#else

namespace {
void* counted(std::size_t size) {
  allocated += size;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
}  // namespace

namespace shufflefs::net::testing {
std::size_t allocated_bytes() { return allocated; }
}  // namespace shufflefs::net::testing

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

#endif
