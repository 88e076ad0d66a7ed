// Whatever comes in, it is answered or the connection is closed; nothing crashes, and nothing takes
// more memory than a small multiple of what has arrived.
#include <random>

#include "tests/net/allocations.h"
#include "tests/net/ess/decode_spark.h"
#include "tests/net/ess/spark_node.h"

namespace shufflefs::net::ess::testing {
namespace {

using net::testing::allocated_bytes;

std::vector<Bytes> good_rpcs() {
  WireWriter dirs = rpc(RpcType::kGetLocalDirs);
  dirs.text("app").number(int32_t{2}).text("0").text("1");
  WireWriter remove = rpc(RpcType::kRemoveBlocks);
  remove.text("app").text("0").number(int32_t{2}).text("rdd_1_2").text("shuffle_0_0_0.data");
  WireWriter diagnose = rpc(RpcType::kDiagnoseCorruption);
  diagnose.text("app").text("0").number(int32_t{0}).number(int64_t{1}).number(int32_t{2});
  diagnose.number(int64_t{99}).text("ADLER32");
  return {register_rpc("app", "0", SparkNode::directories("0")),
          fetch_rpc("app", "0", 0, {{0, {0, 1}}, {7, {2}}}),
          fetch_rpc("app", "0", 0, {{0, {0, 2}}, {7, {1, 3}}}, true),
          open_rpc("app", "0", {"shuffle_0_0_0", "shuffle_0_7_1"}),
          open_rpc("app", "0", {"rdd_1_2", "rdd_1_3"}),
          dirs.take(),
          remove.take(),
          diagnose.take(),
          rpc(RpcType::kFinalizeShuffleMerge).take()};
}

std::vector<Bytes> good_frames() {
  std::vector<Bytes> frames;
  for (const Bytes& body : good_rpcs()) frames.push_back(rpc_frame(5, body));
  frames.push_back(chunk_frame(1, 0));
  frames.push_back(stream_frame("1_0"));
  return frames;
}

// Lengths and counts that are telling, some bytes changed, left out, doubled or cut.
void change(Bytes& bytes, std::mt19937_64& random) {
  constexpr std::array<uint64_t, 8> kTelling = {0,      1,     0x7FFFFFFF,         0x80000000,
                                                0xFFFF, ~0ULL, 0x7FFFFFFFFFFFFFFF, 0x100000000};
  const uint64_t changes = 1 + random() % 3;
  for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 6) {
      case 0: bytes[at] = static_cast<std::byte>(random()); break;
      case 1:
        if (bytes.size() - at >= 4)
          store_be(&bytes[at], static_cast<uint32_t>(kTelling.at(random() % kTelling.size())));
        break;
      case 2:
        if (bytes.size() - at >= 8) store_be(&bytes[at], kTelling.at(random() % kTelling.size()));
        break;
      case 3: bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at)); break;
      case 4:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     static_cast<std::byte>(random()));
        break;
      default: bytes.resize(at); break;
    }
  }
}

void decode_within_bounds(std::span<const std::byte> bytes) {
  const std::size_t before = allocated_bytes();
  (void)decode_frames(bytes);
  (void)decode_rpc_body(bytes);
  const std::size_t used = allocated_bytes() - before;
  if (used > 64 * bytes.size() + 16384) FAIL(fmt::format("{} bytes for {}", used, bytes.size()));
}

TEST_CASE("every good frame is taken, and cut anywhere it is not", "[hostile]") {
  for (const Bytes& frame : good_frames()) {
    CHECK(decode_frames(frame) == 1);
    for (std::size_t size = 0; size < frame.size(); ++size)
      CHECK(decode_frames(std::span(frame).first(size)) == 0);
  }
  for (const Bytes& body : good_rpcs()) {
    CHECK(decode_rpc_body(body) == 1);
    // A message that is not supported has no fields that could be missing.
    for (std::size_t size = 0; size < body.size() && body.size() > 1; ++size)
      CHECK(decode_rpc_body(std::span(body).first(size)) == 0);
  }
}

TEST_CASE("a million changed messages neither crash nor make the decoders greedy", "[hostile]") {
  constexpr int kRounds = 1'000'000;
  std::mt19937_64 random(20261121);
  std::vector<Bytes> seeds = good_frames();
  for (Bytes& body : good_rpcs()) seeds.push_back(std::move(body));
  for (int round = 0; round < kRounds; ++round) {
    Bytes bytes = seeds[random() % seeds.size()];
    change(bytes, random);
    decode_within_bounds(bytes);
  }
}

TEST_CASE("counts and lengths of two thousand million cost nothing", "[hostile]") {
  for (const RpcType type : {RpcType::kRegisterExecutor, RpcType::kOpenBlocks,
                             RpcType::kRemoveBlocks, RpcType::kFetchShuffleBlocks}) {
    WireWriter writer = rpc(type);
    writer.text("a").text("0");
    if (type == RpcType::kFetchShuffleBlocks) writer.number(int32_t{0});
    writer.number(int32_t{0x7FFFFFFF});
    Bytes bytes = writer.take();
    bytes.resize(1 << 20);
    const std::size_t before = allocated_bytes();
    CHECK(decode_rpc_body(bytes) == 0);
    CHECK(allocated_bytes() - before < 4096);
  }
}

TEST_CASE("a live service answers or closes, whatever it is sent", "[hostile]") {
  constexpr int kConnections = 1500;
  EssLimits limits;
  limits.request_bytes = 8 << 20;
  limits.frame_bytes = 1 << 20;
  SparkNode node(limits);
  node.add_executor("app", "0");
  node.write_output("0", 0, 0, {10, 20, 30});
  node.write_output("0", 0, 7, {10, 20, 30});
  std::mt19937_64 random(4711);
  const std::vector<Bytes> seeds = good_frames();
  for (int round = 0; round < kConnections; ++round) {
    RawSocket stranger(node.reactor);
    stranger.connect({"127.0.0.1", node.server->port()});
    Bytes conversation;
    const uint64_t frames = 1 + random() % 20;
    for (uint64_t i = 0; i < frames; ++i) {
      Bytes frame = seeds[random() % seeds.size()];
      // Mostly in step, so that many frames are understood.
      if (random() % 8 == 0) change(frame, random);
      conversation.insert(conversation.end(), frame.begin(), frame.end());
    }
    stranger.send(conversation);
    stranger.close();
    REQUIRE(node.server->status().request_bytes <= limits.request_bytes);
  }
  // Among what was sent were registrations and removals. Connections are accepted in their order:
  // when this one is answered none waits to be accepted, and the count says when all are done.
  node.add_executor("app", "0");
  node.reactor.until([&] { return node.server->status().connections == 0; });
  node.reactor.until([&] { return node.server->status().request_bytes == 0; });
  CHECK(node.server->status().streams == 0);
  node.add_executor("app", "0");
  node.write_output("0", 0, 0, {10, 20, 30});
  Client good(node.reactor, node.server->port());
  const int64_t stream = good.open(fetch_rpc("app", "0", 0, {{0, {2}}}), 1);
  CHECK(good.fetch(stream, 0).text == block_text(0, 2, 30));
}

TEST_CASE("a length of 2^62 is refused by a service that holds its memory", "[hostile]") {
  SparkNode node;
  RawSocket stranger(node.reactor);
  stranger.connect({"127.0.0.1", node.server->port()});
  const std::size_t before = allocated_bytes();
  stranger.send(WireWriter().number(int64_t{1} << 62U).number(int8_t{3}).take());
  CHECK(stranger.receive_all().empty());
  CHECK(allocated_bytes() - before < 1 << 20);
  CHECK(node.server->status().request_bytes == 0);
}

TEST_CASE("half a frame and then silence ends after a while", "[hostile]") {
  EssLimits limits;
  limits.frame_timeout = 50ms;
  limits.watch_interval = 10ms;
  SparkNode node(limits);
  RawSocket stranger(node.reactor);
  stranger.connect({"127.0.0.1", node.server->port()});
  stranger.send(WireWriter().number(int64_t{1000}).number(int8_t{3}).take());
  CHECK(stranger.receive_all().empty());
}

}  // namespace
}  // namespace shufflefs::net::ess::testing
