// Feeds bytes from a stranger to every decoder of net/, as a frame and as a bare header. For the
// property test and the fuzzer. Returns how many decoders took them.
#pragma once

#include "net/handshake.h"
#include "net/message_fields.h"

namespace shufflefs::net::testing {

inline int decode_as_frame(std::span<const std::byte> bytes) {
  if (bytes.size() < kPrefixBytes) return 0;
  const auto prefix = decode_prefix(bytes.first<kPrefixBytes>());
  if (!prefix) return 0;
  const auto limits = request_limits(prefix->type, 64 << 20);
  if (!limits || !check_limits(*prefix, *limits)) return 0;
  const auto rest = bytes.subspan(kPrefixBytes);
  if (rest.size() != prefix->header_bytes + prefix->payload_bytes) return 0;
  if (!check_header(*prefix, rest.first(prefix->header_bytes))) return 0;
  return check_payload(*prefix, rest.subspan(prefix->header_bytes)) ? 1 : 0;
}

// The push's payload is said to be there.
template <class T>
int takes(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  T value{};
  if constexpr (requires { value.payload; }) value.payload = Buffer(payload_bytes);
  return decode<T>("any", bytes, std::move(value)).has_value() ? 1 : 0;
}

inline int decode_as_header(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  int taken = takes<Refusal>(bytes, 0) + takes<Proof>(bytes, 0);
  taken += decode_hello(bytes).has_value() ? 1 : 0;
  taken += decode_hello_response(bytes).has_value() ? 1 : 0;
  const auto both = [&]<class M>(M) {
    taken += takes<typename M::Request>(bytes, payload_bytes);
    taken += takes<typename M::Response>(bytes, 0);
  };
  std::apply([&](auto... message) { (both(message), ...); }, Messages());
  return taken;
}

}  // namespace shufflefs::net::testing
