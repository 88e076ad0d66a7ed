// libFuzzer: SHUFFLEFS_FUZZ_TARGET=<name> fuzz [libFuzzer's options] CORPUS
#include <openssl/rand.h>

#include <array>
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
    // Before a secret sets up OpenSSL's secure heap: there its random generators would be, and the
    // leak detector, which does not look into it, takes what they refer to for lost.
    std::array<unsigned char, 1> any{};
    if (RAND_bytes(any.data(), 1) != 1 || RAND_priv_bytes(any.data(), 1) != 1) std::abort();
    return found;
  }();
  return chosen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  target()->run(std::as_bytes(std::span(data, size)));
  return 0;
}
