#include "net/wire.h"

#include "base/crc32c.h"
#include "base/endian.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

// A head with one field changed and the prefix's checksum made right again: what a broken or
// hostile peer can write.
template <class T>
Bytes with_field(Bytes head, std::size_t at, T value) {
  store_le<T>(&head[at], value);
  store_le<uint32_t>(&head[28], crc32c(std::span(head).first(28)));
  return head;
}

Result<FramePrefix> decode(const Bytes& head) {
  return decode_prefix(std::span(head).first<kPrefixBytes>());
}

TEST_CASE("a frame's head comes back as it was written", "[wire]") {
  const auto header = bytes_of("header");
  const auto payload = bytes_of("the payload");
  const Bytes head = encode_frame_head(77, header, payload);
  REQUIRE(head.size() == kPrefixBytes + header.size());
  const auto prefix = decode(head);
  REQUIRE(prefix);
  CHECK(prefix->type == 77);
  CHECK(prefix->header_bytes == 6);
  CHECK(prefix->payload_bytes == 11);
  CHECK(check_header(*prefix, header));
  CHECK(check_payload(*prefix, payload));
}

TEST_CASE("the bytes of a frame are those of docs/wire.md", "[wire]") {
  const Bytes head = encode_frame_head(4, bytes_of("\x90"), {});
  const std::vector<unsigned> expected = {'S', 'F', 'S', '1', 4, 0, 0, 0, 1, 0, 0, 0};
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(std::to_integer<unsigned>(head[i]) == expected[i]);
  CHECK(load_le<uint32_t>(&head[12]) == crc32c(bytes_of("\x90")));
  CHECK(load_le<uint64_t>(&head[16]) == 0);
  CHECK(load_le<uint32_t>(&head[24]) == 0);
  CHECK(load_le<uint32_t>(&head[28]) == crc32c(std::span(head).first(28)));
}

TEST_CASE("a stranger is told from a damaged frame", "[wire]") {
  const Status stranger = check_magic(bytes_of("GET ").first<4>());
  REQUIRE(!stranger);
  CHECK(stranger.error().code == Code::kProtocol);
  CHECK(stranger.error().message ==
        "not a shufflefs frame (starts with 47 45 54 20): is something else talking to the peer "
        "port?");
  Bytes damaged = encode_frame_head(4, {}, {});
  damaged[9] ^= std::byte{1};
  const auto prefix = decode(damaged);
  REQUIRE(!prefix);
  CHECK_THAT(prefix.error().message, ContainsSubstring("the prefix of a frame was damaged"));
}

TEST_CASE("every bit of a prefix counts", "[wire]") {
  const Bytes head = encode_frame_head(16, bytes_of("header"), bytes_of("payload"));
  for (std::size_t bit = 0; bit < kPrefixBytes * 8; ++bit) {
    Bytes changed = head;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(!decode(changed));
  }
}

TEST_CASE("lengths are checked against the receiver's limits", "[wire]") {
  const Bytes head = encode_frame_head(16, {}, {});
  const auto huge = decode(with_field<uint64_t>(head, 16, 0x7FFFFFFFFFFFFFFF));
  REQUIRE(huge);
  const Status refused = check_limits(*huge, {100, 64 << 20});
  REQUIRE(!refused);
  CHECK(
      refused.error().message ==
      "the payload length 9223372036854775807 is above the limit of 67108864 for message type 16");
  const auto long_header = decode(with_field<uint32_t>(head, 8, 101));
  REQUIRE(long_header);
  CHECK(!check_limits(*long_header, {100, 0}));
  CHECK(check_limits(*long_header, {101, 0}));
}

TEST_CASE("unknown flags are refused", "[wire]") {
  const auto flagged = decode(with_field<uint16_t>(encode_frame_head(16, {}, {}), 6, 1));
  REQUIRE(!flagged);
  CHECK_THAT(flagged.error().message, ContainsSubstring("unknown flags 0x0001"));
}

TEST_CASE("damaged contents are noticed", "[wire]") {
  const auto prefix = decode(encode_frame_head(16, bytes_of("header"), bytes_of("payload")));
  REQUIRE(prefix);
  CHECK(check_header(*prefix, bytes_of("heades")).error().code == Code::kCorruptData);
  CHECK(check_payload(*prefix, bytes_of("paylaod")).error().code == Code::kCorruptData);
}

}  // namespace
}  // namespace shufflefs::net::testing
