#include "net/ess/server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "tests/net/ess/spark_node.h"

namespace shufflefs::net::ess::testing {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

struct Fixture : SparkNode {
  Fixture() {
    add_executor("app-1", "0");
    write_output("0", 3, 17, {10, 0, 300, 5000});
    write_output("0", 3, 18, {1, 2, 3, 4});
  }
  Client client() { return {reactor, server->port()}; }
};

TEST_CASE_METHOD(Fixture, "blocks as asked, and neither more nor less") {
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {3, 0}}, {17, {2, 3}}}), 4);
  // All at once, as Spark does it.
  for (int32_t chunk = 0; chunk < 4; ++chunk) one.send(chunk_frame(stream, chunk));
  const std::vector<std::string> expected = {block_text(18, 3, 4), block_text(18, 0, 1),
                                             block_text(17, 2, 300), block_text(17, 3, 5000)};
  for (int32_t chunk = 0; chunk < 4; ++chunk) {
    const Answer answer = one.receive();
    CHECK(answer.type == FrameType::kChunkFetchSuccess);
    CHECK(answer.id == stream);
    CHECK(answer.chunk == chunk);
    CHECK(answer.text == expected.at(static_cast<std::size_t>(chunk)));
  }
  // Counted by the thread that has sent them, a moment after they have come.
  reactor.until([&] { return metric("chunk_bytes_total") == 5305; });
  CHECK_THAT(one.fetch(stream, 0).text, ContainsSubstring("is closed"));
}

TEST_CASE_METHOD(Fixture, "a batch is one run of bytes per map output") {
  Client one = client();
  const int64_t stream =
      one.open(fetch_rpc("app-1", "0", 3, {{17, {0, 3}}, {18, {1, 4}}}, true), 2);
  CHECK(one.fetch(stream, 0).text == block_text(17, 0, 10) + block_text(17, 2, 300));
  CHECK(one.fetch(stream, 1).text ==
        block_text(18, 1, 2) + block_text(18, 2, 3) + block_text(18, 3, 4));
}

TEST_CASE_METHOD(Fixture, "streams are answered in their order, also around a failure") {
  Client one = client();
  const int64_t stream =
      one.open(open_rpc("app-1", "0", {"shuffle_3_17_3", "shuffle_3_99_0", "shuffle_3_18_2"}), 3);
  one.send(stream_frame(fmt::format("{}_0", stream)));
  one.send(stream_frame("nonsense"));
  one.send(stream_frame(fmt::format("{}_1", stream)));
  one.send(stream_frame(fmt::format("{}_2", stream)));
  CHECK(one.receive().text == block_text(17, 3, 5000));
  CHECK(one.receive().type == FrameType::kStreamFailure);
  const Answer missing = one.receive();
  CHECK(missing.type == FrameType::kStreamFailure);
  CHECK_THAT(missing.text, ContainsSubstring("No such file"));
  CHECK(one.receive().text == block_text(18, 2, 3));
}

TEST_CASE_METHOD(Fixture, "disk-persisted RDD blocks") {
  write_file("0", "rdd_4_2", bytes_of("an RDD's partition"));
  Client one = client();
  const int64_t stream = one.open(open_rpc("app-1", "0", {"rdd_4_2", "rdd_4_3"}), 2);
  CHECK(one.fetch(stream, 0).text == "an RDD's partition");
  CHECK(one.fetch(stream, 1).type == FrameType::kChunkFetchFailure);
}

TEST_CASE_METHOD(Fixture,
                 "an error says which application, shuffle, map, partition, file and errno") {
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{99, {1}}, {17, {1}}, {17, {7}}}), 3);
  const Answer missing = one.fetch(stream, 0);
  CHECK(missing.type == FrameType::kChunkFetchFailure);
  CHECK_THAT(missing.text, StartsWith("app-1 shuffle 3 map 99 partition 1 of executor 0: "));
  CHECK_THAT(missing.text, ContainsSubstring("/shuffle_3_99_0.index"));
  CHECK_THAT(missing.text, ContainsSubstring("(errno 2)"));
  CHECK_THAT(one.fetch(stream, 1).text, ContainsSubstring("the block is empty"));
  CHECK_THAT(one.fetch(stream, 2).text, ContainsSubstring("beyond end 4"));
  const int64_t unknown = one.open(fetch_rpc("app-1", "9", 3, {{17, {0}}}), 1);
  CHECK_THAT(one.fetch(unknown, 0).text,
             ContainsSubstring("Executor is not registered (appId=app-1, execId=9)"));
}

TEST_CASE_METHOD(Fixture, "an index that contradicts its data is reported, not served") {
  write_file("0", "shuffle_3_17_0.index", merge::make_spark_index({10, 0, 300, 50000}));
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{17, {3}}}), 1);
  const Answer answer = one.fetch(stream, 0);
  CHECK(answer.type == FrameType::kChunkFetchFailure);
  CHECK_THAT(answer.text, ContainsSubstring("shuffle_3_17_0.index says"));
}

TEST_CASE_METHOD(Fixture, "no link leads out of an executor's directory") {
  const std::string secret = directory / "secret";
  REQUIRE(replace_file(*io, secret, bytes_of("secret")));
  const std::string name = "rdd_5_5";
  write_file("0", name, bytes_of("x"));
  REQUIRE(::unlink(path_of("0", name).c_str()) == 0);
  REQUIRE(::symlink(secret.c_str(), path_of("0", name).c_str()) == 0);
  Client one = client();
  const int64_t stream = one.open(open_rpc("app-1", "0", {name}), 1);
  const Answer answer = one.fetch(stream, 0);
  CHECK(answer.type == FrameType::kChunkFetchFailure);
  CHECK_THAT(answer.text, ContainsSubstring("(errno 40)"));
}

TEST_CASE_METHOD(Fixture,
                 "what is removed is in the trash, told to the committer, and not served") {
  Client one = client();
  const int64_t before = one.open(fetch_rpc("app-1", "0", 3, {{17, {0}}}), 1);
  CHECK(one.fetch(before, 0).type == FrameType::kChunkFetchSuccess);
  WireWriter writer = rpc(RpcType::kRemoveBlocks);
  writer.text("app-1").text("0").number(int32_t{4});
  for (const char* name :
       {"shuffle_3_17_0.index", "shuffle_3_17_0.data", "shuffle_3_99_0.data", "../x"})
    writer.text(name);
  const Answer answer = one.ask(writer.take());
  REQUIRE(answer.type == FrameType::kRpcResponse);
  CHECK(answer.text == std::string("\x08\0\0\0\x02", 5));
  const int64_t after = one.open(fetch_rpc("app-1", "0", 3, {{17, {0}}}), 1);
  CHECK(one.fetch(after, 0).type == FrameType::kChunkFetchFailure);
  CHECK(commits.heard().size() == 4);  // two directories were named, two files removed
  CHECK(io->list(directory / "d0/trash")->size() + io->list(directory / "d1/trash")->size() == 2);
}

TEST_CASE_METHOD(Fixture, "the answers to RPCs overtake blocks that wait") {
  write_output("0", 4, 1, std::vector<uint64_t>(4, 4 << 20));
  Client one = client();
  const int64_t stream = one.open(fetch_rpc("app-1", "0", 4, {{1, {0, 1, 2, 3}}}), 4);
  Bytes together;
  for (int32_t chunk = 0; chunk < 4; ++chunk) {
    const Bytes frame = chunk_frame(stream, chunk);
    together.insert(together.end(), frame.begin(), frame.end());
  }
  one.send(together);
  one.send(rpc_frame(7, fetch_rpc("app-1", "0", 3, {{17, {0}}})));
  std::vector<FrameType> types;
  for (int i = 0; i < 5; ++i) types.push_back(one.receive().type);
  CHECK(types.back() == FrameType::kChunkFetchSuccess);
  CHECK(std::count(types.begin(), types.end(), FrameType::kRpcResponse) == 1);
}

TEST_CASE_METHOD(Fixture,
                 "a client that takes nothing holds up nobody, and is not read without end") {
  write_output("0", 4, 1, {32 << 20});
  Client greedy = client();
  for (int i = 0; i < 20; ++i) {
    const int64_t stream = greedy.open(fetch_rpc("app-1", "0", 3, {{17, {0}}}), 1);
    (void)greedy.fetch(stream, 0);
  }
  const int64_t large = greedy.open(fetch_rpc("app-1", "0", 4, {{1, {0, 0, 0, 0}}}), 4);
  for (int32_t chunk = 0; chunk < 4; ++chunk) greedy.send(chunk_frame(large, chunk));
  for (int i = 0; i < 50; ++i) {
    Client other = client();
    const int64_t stream = other.open(fetch_rpc("app-1", "0", 3, {{17, {3}}}), 1);
    REQUIRE(other.fetch(stream, 0).text == block_text(17, 3, 5000));
  }
}

TEST_CASE("a client that takes nothing for long is closed, and counted") {
  EssLimits limits;
  limits.client_timeout = 100ms;
  limits.watch_interval = 10ms;
  SparkNode node(limits);
  node.add_executor("app", "0");
  node.write_output("0", 0, 0, {64 << 20});
  Client one(node.reactor, node.server->port());
  const int64_t stream = one.open(fetch_rpc("app", "0", 0, {{0, {0}}}), 1);
  one.send(chunk_frame(stream, 0));
  node.reactor.until([&] { return node.metric("slow_clients_total") == 1; });
  node.reactor.until([&] { return node.server->status().connections == 0; });
}

TEST_CASE("limits close the connection that is beyond them, and no other") {
  EssLimits limits;
  limits.streams_per_connection = 3;
  limits.connections = 2;
  limits.request_bytes = 64 << 10;
  limits.frame_bytes = 1 << 20;
  SparkNode node(limits);
  node.add_executor("app", "0");
  node.write_output("0", 0, 0, {5});
  node.reactor.until([&] { return node.server->status().connections == 0; });
  const Bytes fetch = fetch_rpc("app", "0", 0, {{0, {0}}});
  Client good(node.reactor, node.server->port());
  const int64_t stream = good.open(fetch, 1);

  SECTION("streams of a connection") {
    Client bad(node.reactor, node.server->port());
    for (int i = 0; i < 3; ++i) (void)bad.open(fetch, 1);
    bad.send(rpc_frame(1, fetch));
    CHECK(bad.receive_all().empty());
    CHECK(node.metric("limit_closes_total") == 1);
  }
  SECTION("memory for requests") {
    Client bad(node.reactor, node.server->port());
    bad.send(rpc_frame(1, fetch_rpc("app", "0", 0, {{0, std::vector<int32_t>(50'000, 0)}})));
    CHECK(bad.receive_all().empty());
    CHECK(node.metric("limit_closes_total") == 1);
    node.reactor.until([&] { return node.server->status().connections == 1; });
    CHECK(node.server->status().request_bytes < 1000);
  }
  SECTION("the length of a frame") {
    Client bad(node.reactor, node.server->port());
    bad.send(WireWriter().number(int64_t{2} << 20).number(int8_t{3}).take());
    CHECK(bad.receive_all().empty());
    CHECK(node.metric("protocol_errors_total") == 1);
  }
  SECTION("connections") {
    Client second(node.reactor, node.server->port());
    node.reactor.until([&] { return node.server->status().connections == 2; });
    Client third(node.reactor, node.server->port());
    CHECK(third.receive_all().empty());
    CHECK(node.metric("connections_refused_total") == 1);
  }
  CHECK(good.fetch(stream, 0).text == block_text(0, 0, 5));
}

TEST_CASE_METHOD(Fixture,
                 "push-based shuffle and strangers get the refusals that they understand") {
  Client one = client();
  for (const RpcType type : {RpcType::kUploadBlock, RpcType::kRegisterDriver,
                             RpcType::kPushBlockStream, RpcType::kFetchShuffleBlockChunks}) {
    const Answer answer = one.ask(rpc(type).take());
    CHECK(answer.type == FrameType::kRpcFailure);
    CHECK_THAT(answer.text,
               StartsWith("java.lang.UnsupportedOperationException: Unexpected message"));
  }
  // A client with authentication, where we have none.
  CHECK(one.ask({std::byte{0xEA}}).text ==
        "java.lang.IllegalArgumentException: Unknown message type: -22");
  one.send(rpc_frame(1, rpc(RpcType::kRemoveShuffleMerge).take()));
  CHECK(one.receive().type == FrameType::kRpcFailure);
  WireWriter upload;
  upload.number(int64_t{5}).number(int32_t{0}).number(int64_t{1000});
  one.send(framed(FrameType::kUploadStream, upload));
  CHECK(one.receive().id == 5);
  CHECK(one.receive_all().empty());
}

TEST_CASE_METHOD(Fixture, "executors outside the mount are refused with the remedy") {
  Client one = client();
  const Answer answer = one.ask(register_rpc("app-1", "5", {"/tmp/elsewhere"}));
  CHECK(answer.type == FrameType::kRpcFailure);
  CHECK_THAT(answer.text, ContainsSubstring("--spark-allow-dir"));
}

TEST_CASE_METHOD(Fixture, "local directories are answered as they were registered") {
  Client one = client();
  WireWriter writer = rpc(RpcType::kGetLocalDirs);
  const Answer answer = one.ask(writer.text("app-1").number(int32_t{2}).text("0").text("0").take());
  REQUIRE(answer.type == FrameType::kRpcResponse);
  CHECK(answer.text == [] {
    const Bytes bytes = encode_local_dirs({{"0", SparkNode::directories("0")}});
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }());
}

TEST_CASE_METHOD(Fixture, "a file that is replaced is read anew") {
  Client one = client();
  int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {0, 1, 2, 3}}}), 4);
  CHECK(one.fetch(stream, 3).text == block_text(18, 3, 4));
  write_output("0", 3, 18, {100, 200});
  // Open files are trusted for two seconds; an executor that registers again starts anew.
  add_executor("app-1", "0");
  stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {1}}}), 1);
  CHECK(one.fetch(stream, 0).text == block_text(18, 1, 200));
}

TEST_CASE_METHOD(Fixture, "what replaced a committed map output is not served in its place") {
  commit_output("app-1", "0", 3, 17);
  commit_output("app-1", "0", 3, 18);
  const std::string data =
      path_of("0", spark_file_name(merge::ShuffleId{3}, merge::MapId{18}, merge::SparkFile::kData));
  Client one = client();
  int64_t stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {3}}}), 1);
  CHECK(one.fetch(stream, 0).text == block_text(18, 3, 4));
  REQUIRE(replace_file(*io, data, bytes_of("0123456789")));  // as long as it was
  // Open files are trusted for two seconds; an executor that registers again starts anew.
  add_executor("app-1", "0");
  stream = one.open(fetch_rpc("app-1", "0", 3, {{18, {3}}, {17, {2}}}), 2);
  const Answer refused = one.fetch(stream, 0);
  CHECK(refused.type == FrameType::kChunkFetchFailure);
  CHECK_THAT(refused.text, ContainsSubstring(data + " was changed after it was committed"));
  CHECK(table.lost_maps() == 1);
  CHECK(one.fetch(stream, 1).text == block_text(17, 2, 300));
}

TEST_CASE("a connection that waits for a disk shows signs of life, and is given up in the end") {
  SparkNode node;
  int ends[2] = {-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  const EssLimits limits;
  EssMetrics metrics(node.reactor.metrics);
  BlockFiles files(node.reactor.runtime, node.apps, limits);
  ReadAhead read_ahead(metrics);
  Outbox outbox({node.reactor.runtime, files, read_ahead, metrics, limits}, ours.get());
  using Waits = Outbox::Waits;
  const TimePoint start = node.reactor.runtime.now();
  outbox.push_chunk(std::make_shared<Stream>(), 0, false);
  std::array<std::byte, 100> got{};
  auto received = [&] { return ::recv(theirs.get(), got.data(), got.size(), 0); };
  CHECK(outbox.watch(start + 20s, Waits::kForDisk) == Outbox::Health::kGood);
  CHECK(received() == -1);
  CHECK(outbox.watch(start + 31s, Waits::kForDisk) == Outbox::Health::kGood);
  CHECK(received() == 21);  // an empty RpcResponse
  CHECK(outbox.watch(start + 40s, Waits::kForDisk) == Outbox::Health::kGood);
  CHECK(received() == -1);
  // Never 120 s without a byte.
  CHECK(outbox.watch(start + 62s, Waits::kForDisk) == Outbox::Health::kGood);
  CHECK(received() == 21);
  CHECK(outbox.watch(start + 11min, Waits::kForDisk) == Outbox::Health::kSlowDisk);
  CHECK(outbox.watch(start + 119s, Waits::kForClient) == Outbox::Health::kGood);
  CHECK(outbox.watch(start + 122s, Waits::kForClient) == Outbox::Health::kSlowClient);
  CHECK(outbox.watch(start + 11min, Waits::kForNothing) == Outbox::Health::kGood);
}

TEST_CASE_METHOD(Fixture, "a client that asks without end and takes nothing is not listened to") {
  const Fd rude(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(rude.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  // Each is answered by a failure that is longer than the question.
  Bytes questions;
  for (int i = 0; i < 1000; ++i) {
    const Bytes frame = rpc_frame(i, {std::byte{0x63}});
    questions.insert(questions.end(), frame.begin(), frame.end());
  }
  // What the socket's buffers hold on both sides is taken, and then no more.
  std::size_t taken = 0;
  std::size_t at = 0;
  for (int round = 0; round < 400; ++round) {
    while (true) {
      const ssize_t n =
          ::send(rude.get(), &questions[at], questions.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n <= 0) break;
      taken += static_cast<std::size_t>(n);
      at = (at + static_cast<std::size_t>(n)) % questions.size();
    }
    Client good = client();
    const int64_t stream = good.open(fetch_rpc("app-1", "0", 3, {{17, {0}}}), 1);
    REQUIRE(good.fetch(stream, 0).text == block_text(17, 0, 10));
    REQUIRE(taken < 24 << 20);
  }
  CHECK(metric("requests_failed_total") > 0);
}

TEST_CASE("what one reads ahead is what lies close together") {
  using Span = ReadAhead::Span;
  const Span own{1000, 2000};
  CHECK(ReadAhead::neighbourhood({}, own) == own);
  CHECK(ReadAhead::neighbourhood({{2000, 3000}, {0, 900}, {3500, 4000}}, own) == Span{0, 4000});
  CHECK(ReadAhead::neighbourhood({{5'000'000, 6'000'000}}, own) == own);
  // Bounded, and upwards first.
  const Span bounded = ReadAhead::neighbourhood({{2000, 100'000'000}, {0, 1000}}, own);
  CHECK(bounded.begin == 1000);
  CHECK(bounded.end == 1000 + (8 << 20));
}

}  // namespace
}  // namespace shufflefs::net::ess::testing
