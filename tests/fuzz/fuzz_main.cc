// libFuzzer: SHUFFLEFS_FUZZ_TARGET=<name> fuzz [libFuzzer's options] CORPUS
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "tests/fuzz/targets.h"

namespace {

const shufflefs::fuzz::Target* target() {
  static const shufflefs::fuzz::Target* const chosen = [] {
    const char* const name = std::getenv("SHUFFLEFS_FUZZ_TARGET");  // NOLINT(concurrency-mt-unsafe)
    const auto* const found = name == nullptr ? nullptr : shufflefs::fuzz::find_target(name);
    if (found == nullptr) {
      std::fputs("set SHUFFLEFS_FUZZ_TARGET to one of:\n", stderr);
      for (const auto& known : shufflefs::fuzz::targets())
        std::fprintf(stderr, "  %s\n", known.name.data());
      std::exit(2);  // NOLINT(concurrency-mt-unsafe)
    }
    shufflefs::log_set_level(shufflefs::LogLevel::kError);
    return found;
  }();
  return chosen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  target()->run(std::as_bytes(std::span(data, size)));
  return 0;
}
