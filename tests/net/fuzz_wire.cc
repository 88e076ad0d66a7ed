// libFuzzer over all decoders: cmake -DSHUFFLEFS_FUZZ=ON, then `fuzz_wire -max_len=4096 CORPUS`.
#include "tests/net/decode_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)shufflefs::net::testing::decode_as_frame(bytes);
  (void)shufflefs::net::testing::decode_as_header(bytes, size % 16);
  return 0;
}
