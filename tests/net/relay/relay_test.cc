// The relay between a client and the shuffle service that it means: which block comes from where,
// and what is only passed on.
#include "base/crc32c.h"
#include "net/ess/client_protocol.h"
#include "net/relay/server.h"
#include "support/node_doubles.h"
#include "tests/net/ess/spark_node.h"

namespace shufflefs::net::relay {
namespace {

using namespace ess::testing;  // NOLINT(google-build-using-namespace)
using Catch::Matchers::ContainsSubstring;
using ess::FrameType;
using merge::NodeName;
using merge::PartitionId;
using shufflefs::testing::node_name;

const NodeName kOrigin = node_name(0);
const NodeName kHolder = node_name(1);
const NodeName kSelf = node_name(2);

// A node that has merged blocks of shuffle 3 of app-1.
class MergedNode final : public shufflefs::testing::ForwardingNode {
 public:
  void merge(int64_t map, int32_t partition, std::string_view bytes, const NodeName& origin) {
    Merged& merged = merged_[static_cast<PartitionId>(partition)];
    merged.blocks.push_back({static_cast<merge::MapId>(map),
                             {uint64_t(100 + map), merge::tag_of(origin)},
                             merged.bytes.size(),
                             bytes.size(),
                             crc32c(bytes_of(std::string(bytes)))});
    merged.bytes += bytes;
  }
  void heard_empty(int64_t map, int32_t partition, const NodeName& origin) {
    merged_[static_cast<PartitionId>(partition)].heard.push_back(
        {static_cast<merge::MapId>(map), origin, uint64_t(100 + map), false});
  }

  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 PartitionId partition) override {
    ++plans;
    auto info = co_await partition_info(std::move(shuffle), partition);
    info->heard.clear();
    co_return info;
  }
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    PartitionId partition) override {
    merge::PartitionInfo info;
    if (shuffle == *merge::parse_shuffle_key("app-1/3")) {
      info.merged = merged_[partition].blocks;
      info.heard = merged_[partition].heard;
      info.partition_count = 8;
    }
    co_return info;
  }
  Task<Result<Buffer>> read_merged(merge::ShuffleKey, PartitionId partition, uint64_t offset,
                                   uint32_t length) override {
    ++reads;
    Buffer bytes(length);
    std::memcpy(bytes.data(), merged_[partition].bytes.data() + offset, length);
    if (damaged) bytes.data()[length / 2] ^= std::byte{1};
    co_return bytes;
  }

  int plans = 0;
  int reads = 0;
  bool damaged = false;

 private:
  struct Merged {
    std::vector<merge::MergedBlock> blocks;
    std::vector<merge::HeardBlock> heard;
    std::string bytes;
  };
  std::map<PartitionId, Merged> merged_;
};

// Members with an address each.
class Members final : public merge::Cluster {
 public:
  [[nodiscard]] NodeName self() const override { return kSelf; }
  [[nodiscard]] std::vector<NodeName> names() const override { return {kOrigin, kHolder, kSelf}; }
  [[nodiscard]] uint64_t view_hash() const override { return merge::hash_of_view(names()); }
  [[nodiscard]] std::shared_ptr<merge::NodeApi> node(const NodeName& name) override {
    return name == kHolder ? holder : name == kSelf ? here : nothing;
  }
  [[nodiscard]] bool is_up(const NodeName&) const override { return true; }
  [[nodiscard]] std::vector<merge::PeerHealth> health() const override {
    merge::PeerHealth origin;
    origin.name = kOrigin;
    origin.address = origin_address;
    return {origin};
  }
  void on_new_incarnation(std::function<void(NodeName)>) override {}

  std::shared_ptr<MergedNode> holder = std::make_shared<MergedNode>();
  std::shared_ptr<MergedNode> here = std::make_shared<MergedNode>();
  std::shared_ptr<shufflefs::testing::ForwardingNode> nothing =
      std::make_shared<shufflefs::testing::ForwardingNode>();
  std::string origin_address = "127.0.0.1:7338";
};

// The service of SparkNode is the origin. Map 17 has the partitions 0 to 3, of which 1 is empty.
struct Fixture : SparkNode {
  Fixture() {
    add_executor("app-1", "0");
    write_output("0", 3, 17, {10, 0, 300, 5000});
    write_output("0", 3, 18, {1, 2, 3, 4});
    RelayOptions options;
    options.service = {"127.0.0.1", server->port()};
    options.redirects = false;
    options.origin = {asio::ip::make_address("127.0.0.1"), server->port()};
    options.times.origin_patience = 300ms;
    merge::StreamOptions stream;
    stream.lost_patience = 10ms;
    relay = std::make_unique<RelayServer>(reactor.runtime, members, catalog, reactor.budget, stream,
                                          relay_metrics, options);
    REQUIRE(relay->listen());
    relay->start();
  }
  ~Fixture() { reactor.run(relay->stop()); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  Client client() { return {reactor, relay->port()}; }
  uint64_t blocks(const std::string& source) {
    return reactor.metrics.counters("shufflefs_relay_blocks_total", "", "source")
        .with(source)
        .value();
  }
  uint64_t origins(const std::string& reason) {
    return reactor.metrics.counters("shufflefs_relay_origin_blocks_total", "", "reason")
        .with(reason)
        .value();
  }
  // {chunk: text} of these chunks, asked for at once.
  static std::map<int32_t, Answer> fetch_all(Client& client, int64_t stream, int32_t chunks) {
    for (int32_t chunk = 0; chunk < chunks; ++chunk) client.send(chunk_frame(stream, chunk));
    std::map<int32_t, Answer> answers;
    for (int32_t i = 0; i < chunks; ++i) {
      Answer answer = client.receive();
      CHECK(answer.id == stream);
      answers[answer.chunk] = std::move(answer);
    }
    return answers;
  }

  Members members;
  merge::PlacementCache placements{members};
  merge::Catalog catalog{reactor.runtime, members, clock, placements, 10ms};
  RelayMetrics relay_metrics{reactor.metrics};
  std::unique_ptr<RelayServer> relay;
};

}  // namespace

TEST_CASE_METHOD(Fixture, "each block comes from where it is merged, the others from the origin") {
  members.holder->merge(17, 2, block_text(17, 2, 300), kOrigin);
  members.here->merge(18, 3, block_text(18, 3, 4), kOrigin);
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {3, 0}}, {17, {2, 3}}}), 4);
  auto answers = fetch_all(one, stream, 4);
  CHECK(answers[0].text == block_text(18, 3, 4));
  CHECK(answers[1].text == block_text(18, 0, 1));
  CHECK(answers[2].text == block_text(17, 2, 300));
  CHECK(answers[3].text == block_text(17, 3, 5000));
  CHECK(blocks("merged_here") == 1);
  CHECK(blocks("merged_there") == 1);
  reactor.until([&] { return blocks("origin") == 2; });
  CHECK(origins("not_merged") == 2);
  CHECK_THAT(one.fetch(stream, 0).text, ContainsSubstring("is closed"));
}

TEST_CASE_METHOD(Fixture, "a map id that another node has committed too is not mistaken for it") {
  members.holder->merge(17, 2, block_text(17, 2, 200), kHolder);
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {2}}}), 1);
  CHECK(one.fetch(stream, 0).text == block_text(17, 2, 300));
  CHECK(origins("not_merged") == 1);
}

TEST_CASE_METHOD(Fixture, "an origin that is no member is served by itself alone") {
  members.origin_address = "127.0.0.9:7338";
  members.holder->merge(17, 2, block_text(17, 2, 300), kOrigin);
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {2}}}), 1);
  CHECK(one.fetch(stream, 0).text == block_text(17, 2, 300));
  CHECK(origins("unknown_node") == 1);
}

TEST_CASE_METHOD(Fixture, "a range is merged if what is missing of it is known to be empty") {
  members.holder->merge(17, 0, block_text(17, 0, 10), kOrigin);
  members.here->merge(17, 2, block_text(17, 2, 300), kOrigin);
  const std::string all = block_text(17, 0, 10) + block_text(17, 2, 300);
  SECTION("it is not known") {
    Client one = client();
    const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {0, 3}}}, true), 1);
    CHECK(one.fetch(stream, 0).text == all);
    CHECK(origins("not_merged") == 1);
  }
  SECTION("it is known") {
    // Who holds another block of that partition was told.
    members.here->merge(18, 1, block_text(18, 1, 2), kOrigin);
    members.here->heard_empty(17, 1, kOrigin);
    Client one = client();
    const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {0, 3}}}, true), 1);
    CHECK(one.fetch(stream, 0).text == all);
    CHECK(blocks("merged_there") == 1);
    CHECK(blocks("merged_here") == 1);
  }
}

TEST_CASE_METHOD(Fixture, "damage in a merged block does not reach the client") {
  members.holder->merge(17, 2, block_text(17, 2, 300), kOrigin);
  members.holder->damaged = true;
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {2}}}), 1);
  CHECK(one.fetch(stream, 0).text == block_text(17, 2, 300));
  CHECK(origins("failed") == 1);
}

TEST_CASE_METHOD(Fixture, "a block that nobody has fails alone, in the words of its origin") {
  members.holder->merge(17, 2, block_text(17, 2, 300), kOrigin);
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{99, {0}}, {17, {2}}}), 2);
  auto answers = fetch_all(one, stream, 2);
  CHECK(answers[0].type == FrameType::kChunkFetchFailure);
  CHECK_THAT(answers[0].text,
             ContainsSubstring("app-1 shuffle 3 map 99 partition 0 of executor 0"));
  CHECK(answers[1].text == block_text(17, 2, 300));
}

TEST_CASE_METHOD(Fixture,
                 "without its origin what is merged is served, and the rest fails in time") {
  members.holder->merge(17, 2, block_text(17, 2, 300), kOrigin);
  reactor.run(server->stop());
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {2, 3}}}), 2);
  auto answers = fetch_all(one, stream, 2);
  CHECK(answers[0].text == block_text(17, 2, 300));
  CHECK(answers[1].type == FrameType::kChunkFetchFailure);
  CHECK_THAT(answers[1].text, ContainsSubstring("of executor 0: the origin 127.0.0.1"));
}

TEST_CASE_METHOD(Fixture,
                 "many blocks of a partition are one read, also over several connections") {
  constexpr int kMaps = 300;
  std::vector<MapAndReduces> even;
  std::vector<MapAndReduces> odd;
  for (int map = 0; map < kMaps; ++map) {
    members.holder->merge(1000 + map, 5, block_text(1000 + map, 5, 2000), kOrigin);
    (map % 2 == 0 ? even : odd).push_back({1000 + map, {5}});
    // This node's own: nobody asks the relay for them.
    if (map % 50 == 0) members.holder->merge(5000 + map, 5, "own", kSelf);
  }
  Client one = client();
  Client two = client();
  const int64_t first = one.open(fetch_rpc("app-1", "0", 3, even), kMaps / 2);
  const int64_t second = two.open(fetch_rpc("app-1", "0", 3, odd), kMaps / 2);
  auto evens = fetch_all(one, first, kMaps / 2);
  auto odds = fetch_all(two, second, kMaps / 2);
  for (int i = 0; i < kMaps / 2; ++i) {
    CHECK(evens[i].text == block_text(1000 + 2 * i, 5, 2000));
    CHECK(odds[i].text == block_text(1001 + 2 * i, 5, 2000));
  }
  CHECK(members.holder->reads == 1);
  CHECK(members.holder->plans == 1);
  // Taken by all, it is held no longer.
  reactor.until([&] { return reactor.budget.used_bytes() == 0; });
}

TEST_CASE_METHOD(Fixture, "large blocks are read in pieces and checked as a whole") {
  const std::string large = block_text(17, 6, 5 << 20);
  members.holder->merge(17, 6, large, kOrigin);
  members.holder->merge(18, 6, "small", kOrigin);
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {6}}, {18, {6}}}), 2);
  auto answers = fetch_all(one, stream, 2);
  CHECK((answers[0].text == large));
  CHECK(answers[1].text == "small");
}

TEST_CASE_METHOD(Fixture, "a large range is sent partition by partition") {
  const std::string first = block_text(17, 5, 3 << 20);
  const std::string second = block_text(17, 6, 4 << 20);
  const std::string third = block_text(17, 7, 100);
  members.holder->merge(17, 5, first, kOrigin);
  members.here->merge(17, 6, second, kOrigin);
  members.holder->merge(17, 7, third, kOrigin);
  Client one = client();
  int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {5, 8}}}, true), 1);
  CHECK((one.fetch(stream, 0).text == first + second + third));
  CHECK(blocks("merged_there") == 2);
  stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {5, 8}}}, true), 1);
  one.send(stream_frame(fmt::format("{}_0", stream)));
  CHECK((one.receive().text == first + second + third));
  // With the length sent nothing but the end of the connection says that a part is missing.
  members.holder->damaged = true;
  stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {5, 8}}}, true), 1);
  one.send(chunk_frame(stream, 0));
  CHECK(one.receive_all().size() < first.size());
}

TEST_CASE_METHOD(Fixture, "streams keep their order, wherever they come from") {
  members.holder->merge(18, 2, block_text(18, 2, 3), kOrigin);
  Client one = client();
  const int64_t stream =
      one.open(open_rpc("app-1", "0", {"shuffle_3_17_3", "shuffle_3_99_0", "shuffle_3_18_2"}), 3);
  one.send(stream_frame(fmt::format("{}_0", stream)));
  one.send(stream_frame("nonsense"));
  one.send(stream_frame(fmt::format("{}_1", stream)));
  one.send(stream_frame(fmt::format("{}_2", stream)));
  Answer answer = one.receive();
  CHECK(answer.stream == fmt::format("{}_0", stream));
  CHECK(answer.text == block_text(17, 3, 5000));
  answer = one.receive();
  CHECK(answer.type == FrameType::kStreamFailure);
  CHECK(answer.stream == "nonsense");
  answer = one.receive();
  CHECK(answer.type == FrameType::kStreamFailure);
  CHECK(answer.stream == fmt::format("{}_1", stream));
  answer = one.receive();
  CHECK(answer.stream == fmt::format("{}_2", stream));
  CHECK(answer.text == block_text(18, 2, 3));
  CHECK(blocks("merged_there") == 1);
}

TEST_CASE_METHOD(Fixture, "what is no fetch of shuffle blocks is passed on") {
  write_file("0", "rdd_1_2", bytes_of("an rdd block"));
  Client one = client();
  CHECK(one.ask(register_rpc("app-1", "9", directories("9")), 7).id == 7);
  const int64_t stream = one.open(open_rpc("app-1", "0", {"rdd_1_2"}), 1);
  CHECK(stream < kFirstStream);
  CHECK(one.fetch(stream, 0).text == "an rdd block");
  one.send(stream_frame(fmt::format("{}_0", one.open(open_rpc("app-1", "0", {"rdd_1_2"}), 1))));
  CHECK(one.receive().text == "an rdd block");
  const Answer failure = one.ask(Bytes{std::byte{0x63}}, 8);
  CHECK(failure.type == FrameType::kRpcFailure);
  CHECK(failure.id == 8);
}

TEST_CASE_METHOD(Fixture, "garbage closes the connection") {
  Client one = client();
  one.send(Bytes(20, std::byte{'G'}));
  CHECK(one.receive_all().empty());
}

TEST_CASE("a fetch of some chunks of a list asks for these in their order") {
  const auto list = [](const Bytes& body) {
    auto decoded = ess::decode_rpc(body);
    REQUIRE(decoded);
    return std::get<ess::BlockList>(std::move(*decoded));
  };
  const ess::BlockList all = list(fetch_rpc("a", "1", 3, {{5, {0, 1, 2}}, {6, {7}}, {5, {9, 8}}}));
  const std::vector<uint32_t> chunks = {0, 2, 3, 4, 5};
  const ess::BlockList some = list(ess::encode_fetch(all, chunks));
  REQUIRE(some.chunks() == chunks.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto wanted = all.chunk(chunks[i]);
    const auto got = some.chunk(i);
    CHECK(some.maps[got.map] == all.maps[wanted.map]);
    CHECK(got.begin == wanted.begin);
  }
  const ess::BlockList ranges = list(fetch_rpc("a", "1", 3, {{5, {0, 4}}, {6, {7, 9}}}, true));
  const ess::BlockList last = list(ess::encode_fetch(ranges, std::vector<uint32_t>{1}));
  CHECK(last.kind == ess::BlockList::Kind::kRanges);
  CHECK(last.maps == std::vector<int64_t>{6});
  CHECK(last.reduces == std::vector<int32_t>{7, 9});
}

}  // namespace shufflefs::net::relay
