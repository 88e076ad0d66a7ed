// libFuzzer over the shuffle service's decoders: the fuzz preset, then `fuzz_spark -max_len=4096
// CORPUS`.
#include "tests/net/ess/decode_spark.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace shufflefs::net::ess::testing;  // NOLINT(google-build-using-namespace)
  const auto bytes = std::as_bytes(std::span(data, size));
  (void)decode_frames(bytes);
  (void)decode_one_frame(bytes);
  (void)decode_rpc_body(bytes);
  return 0;
}
