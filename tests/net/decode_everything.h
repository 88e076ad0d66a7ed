// Feeds bytes from a stranger to every decoder of net/, as a frame and as a bare header. For the
// property test and the fuzzer. Returns how many decoders took them.
#pragma once

#include "net/hello.h"
#include "net/messages.h"

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

inline int decode_as_header(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  int taken = 0;
  auto count = [&taken](const auto& result) { taken += result.has_value() ? 1 : 0; };
  count(decode_push(bytes, Buffer(payload_bytes)));
  count(decode_push_reply(bytes));
  count(decode_announce(bytes));
  count(decode_partition_question(bytes));
  count(decode_shuffle_question(bytes));
  count(decode_read_merged(bytes));
  count(decode_read_block(bytes));
  count(decode_drop(bytes));
  count(decode_report_question(bytes));
  count(decode_report(bytes));
  count(decode_partition_info(bytes));
  count(decode_shuffle_info(bytes));
  count(decode_shuffles(bytes));
  count(decode_nothing(bytes));
  count(decode_error(bytes));
  count(decode_hello(bytes));
  count(decode_hello_answer(bytes));
  count(decode_proof(bytes));
  count(decode_ping(bytes));
  count(decode_pong(bytes));
  count(decode_members(bytes));
  return taken;
}

}  // namespace shufflefs::net::testing
