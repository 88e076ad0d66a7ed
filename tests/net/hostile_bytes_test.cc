// Whatever comes in, decoders give an error or a value, never crash, and never allocate more than a
// small multiple of what has actually arrived.
#include <fmt/format.h>

#include <random>

#include "base/crc32c.h"
#include "base/endian.h"
#include "tests/net/allocations.h"
#include "tests/net/decode_everything.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

std::vector<Bytes> valid_headers() {
  return {encode(sample_push()),
          encode(sample_announce()),
          encode(sample_partition_info()),
          encode(sample_shuffle_info()),
          encode(std::vector{shuffle_key("a", 1), shuffle_key("b", 2)}),
          encode(ReadBlockRequest{shuffle_key(), merge::MapId{9}, 6, merge::PartitionId{1}, 5, 77}),
          encode(DropRequest{app("app"), {}, 3}),
          encode(Refusal{Error{Code::kIo, EIO, "disk"}}),
          encode(Hello{0, {node_name("n"), 1}, "m", {}}),
          encode(HelloResponse{0, {node_name("n"), 1}, {}}),
          encode(MemberDigest{1, 2}),
          encode(Pong{1, {2, 3}}),
          encode(MemberExchange{{7}, {{node_name("n"), {"10.0.0.1", 7338}, 1, 2, true}}})};
}

// All decoders together; a decoder's error message and its vectors are a few hundred bytes each.
void decode_within_bounds(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  const std::size_t before = allocated_bytes();
  (void)decode_as_frame(bytes);
  (void)decode_as_header(bytes, payload_bytes);
  const std::size_t used = allocated_bytes() - before;
  if (used > 64 * bytes.size() + 65536) FAIL(fmt::format("{} bytes for {}", used, bytes.size()));
}

TEST_CASE("every valid header is taken by its decoder", "[hostile]") {
  for (const Bytes& header : valid_headers()) CHECK(decode_as_header(header, 7) >= 1);
}

TEST_CASE("messages cut at any byte are refused", "[hostile]") {
  for (const Bytes& header : valid_headers()) {
    for (std::size_t size = 0; size < header.size(); ++size) {
      CHECK(decode_as_header(std::span(header).first(size), 7) == 0);
    }
    const Bytes frame = frame_of(MessageType::kPush, header, bytes_of("abcdefg"));
    REQUIRE(decode_as_frame(frame) == 1);
    for (std::size_t size = 0; size < frame.size(); ++size)
      CHECK(decode_as_frame(std::span(frame).first(size)) == 0);
  }
}

TEST_CASE("any changed bit of a frame is noticed", "[hostile]") {
  const Bytes frame = frame_of(MessageType::kPush, encode(sample_push()), bytes_of("abcdefg"));
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Bytes changed = frame;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(decode_as_frame(changed) == 0);
  }
}

TEST_CASE("random changes of valid messages neither crash nor make decoders greedy", "[hostile]") {
  constexpr int kRounds = 100'000;
  constexpr std::array<unsigned, 8> kTelling = {0xc0, 0xc4, 0xc6, 0xcf, 0xdb, 0xdd, 0xff, 0x00};
  std::mt19937_64 random(20261121);
  const std::vector<Bytes> headers = valid_headers();
  for (int round = 0; round < kRounds; ++round) {
    Bytes bytes = headers[random() % headers.size()];
    const uint64_t changes = 1 + random() % 4;
    for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 5) {
        case 0: bytes[at] = static_cast<std::byte>(random()); break;
        case 1: bytes[at] = static_cast<std::byte>(kTelling.at(random() % kTelling.size())); break;
        case 2: bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at)); break;
        case 3:
          bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                       static_cast<std::byte>(random()));
          break;
        default: bytes.resize(at); break;
      }
    }
    decode_within_bounds(bytes, random() % 16);
  }
}

TEST_CASE("random bytes neither crash nor make decoders greedy", "[hostile]") {
  constexpr int kRounds = 20'000;
  std::mt19937_64 random(4711);
  for (int round = 0; round < kRounds; ++round) {
    Bytes bytes(random() % 300);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    // Many start as an array of a plausible size, to get past the first field.
    if (!bytes.empty() && round % 2 == 0) bytes[0] = static_cast<std::byte>(0x90 + random() % 16);
    decode_within_bounds(bytes, random() % 16);
  }
}

TEST_CASE("a list that claims billions of elements costs nothing", "[hostile]") {
  Bytes bytes = {std::byte{0x91}, std::byte{0xdd}, std::byte{0xff},
                 std::byte{0xff}, std::byte{0xff}, std::byte{0xff}};
  decode_within_bounds(bytes, 0);
  bytes.resize(1 << 20, std::byte{0});
  const std::size_t before = allocated_bytes();
  CHECK(!decode<std::vector<merge::ShuffleKey>>("list_shuffles", bytes));
  CHECK(allocated_bytes() - before < 4096);
}

TEST_CASE("a length of 2^62 is refused by a server that holds its memory", "[hostile]") {
  Reactor reactor;
  const Served served(reactor, "node1", 5, "127.0.0.14");
  RawSocket socket(reactor);
  socket.connect(served.address());
  socket.send(frame_of(MessageType::kHello, encode(Hello{0, {node_name("client"), 3}, {}, {}})));
  REQUIRE(socket.receive_frame().first == response_number(MessageType::kHello));
  Bytes frame = frame_of(MessageType::kPush, encode(sample_push()));
  store_le<uint64_t>(&frame[16], uint64_t{1} << 62U);  // the payload; a header's length has 32 bits
  store_le<uint32_t>(&frame[28], crc32c(std::span(frame).first(28)));
  const std::size_t before = allocated_bytes();
  socket.send(frame);
  const auto [type, header] = socket.receive_frame();
  REQUIRE(type == request_number(MessageType::kError));
  CHECK_THAT(decode<Refusal>("error", header)->error.message,
             ContainsSubstring("length 4611686018427387904 is above the limit"));
  CHECK(socket.receive_all().empty());
  CHECK(allocated_bytes() - before < 1 << 20);
  CHECK(reactor.budget.used_bytes() == 0);
}

}  // namespace
}  // namespace shufflefs::net::testing
