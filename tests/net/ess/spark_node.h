// What the tests of the shuffle service share: a service on a loopback address with executors'
// directories in a temporary one, files as Spark writes them, and a client that speaks bytes.
#pragma once

#include <fmt/format.h>

#include <numeric>

#include "base/endian.h"
#include "merge/map_output.h"
#include "merge/shuffle_table.h"
#include "merge/spark_files.h"
#include "net/ess/server.h"
#include "net/ess/wire_fields.h"
#include "support/fake_commits.h"
#include "support/temp_dir.h"
#include "tests/net/ess/spark_requests.h"
#include "tests/net/support.h"

namespace shufflefs::net::ess::testing {

using net::testing::bytes_of;
using net::testing::RawSocket;
using net::testing::Reactor;
using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): a test header

// ---- what it gets --------------------------------------------------------------------------------

struct Answer {
  FrameType type{};
  int64_t id = 0;      // of the RPC, or the stream
  int32_t chunk = 0;   // of a chunk
  std::string stream;  // of a stream's answer
  std::string text;    // the error, or the bytes
};

class Client {
 public:
  Client(Reactor& reactor, uint16_t port) : socket_(reactor) {
    socket_.connect({"127.0.0.1", port});
  }

  void send(const Bytes& frame) { socket_.send(frame); }
  Answer receive() {
    const auto length = load_be<int64_t>(socket_.receive(kLengthBytes).data());
    const Bytes frame = socket_.receive(static_cast<std::size_t>(length) - kLengthBytes);
    WireReader reader("answer", frame);
    Answer answer;
    answer.type = static_cast<FrameType>(reader.number<int8_t>("type"));
    switch (answer.type) {
      case FrameType::kRpcResponse:
        answer.id = reader.number<int64_t>("id");
        (void)reader.number<int32_t>("length");
        break;
      case FrameType::kRpcFailure: answer.id = reader.number<int64_t>("id"); break;
      case FrameType::kChunkFetchSuccess:
      case FrameType::kChunkFetchFailure:
        answer.id = reader.number<int64_t>("stream");
        answer.chunk = reader.number<int32_t>("chunk");
        break;
      case FrameType::kStreamResponse:
      case FrameType::kStreamFailure: answer.stream = reader.text("stream", 100); break;
      default: FAIL("a frame of type " << static_cast<int>(answer.type));
    }
    if (answer.type == FrameType::kStreamResponse) {
      const auto size = reader.number<int64_t>("bytes");
      answer.text = text_of(socket_.receive(static_cast<std::size_t>(size)));
      return answer;
    }
    if (answer.type == FrameType::kRpcFailure || answer.type == FrameType::kChunkFetchFailure ||
        answer.type == FrameType::kStreamFailure) {
      answer.text = reader.text("error", 1 << 20);
      return answer;
    }
    const auto rest = reader.rest();
    answer.text = std::string(reinterpret_cast<const char*>(rest.data()), rest.size());
    return answer;
  }
  Answer ask(const Bytes& body, int64_t id = 42) {
    send(rpc_frame(id, body));
    return receive();
  }
  // Opens a stream and returns its id. REQUIRES: the request has `chunks` chunks.
  int64_t open(const Bytes& body, int32_t chunks) {
    const Answer answer = ask(body);
    INFO(answer.text);
    REQUIRE(answer.type == FrameType::kRpcResponse);
    WireReader reader("handle", bytes_of(answer.text));
    REQUIRE(reader.number<int8_t>("type") == static_cast<int8_t>(RpcType::kStreamHandle));
    const auto id = reader.number<int64_t>("stream");
    REQUIRE(reader.number<int32_t>("chunks") == chunks);
    return id;
  }
  Answer fetch(int64_t stream, int32_t chunk) {
    send(chunk_frame(stream, chunk));
    return receive();
  }
  std::string receive_all() { return socket_.receive_all(); }
  void close() { socket_.close(); }

 private:
  static std::string text_of(const Bytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  RawSocket socket_;
};

// ---- the service ---------------------------------------------------------------------------------

// Text that tells its place: damage and shifts are seen.
inline std::string block_text(int64_t map, int32_t reduce, std::size_t size) {
  std::string text = fmt::format("[{}:{}]", map, reduce);
  while (text.size() < size) text += fmt::format("{},", text.size());
  text.resize(size);
  return text;
}

struct SparkNode {
  explicit SparkNode(EssLimits limits = {}, std::shared_ptr<const AuthSecret> secret = nullptr) {
    REQUIRE(io->make_directories(local(0)));
    REQUIRE(io->make_directories(local(1)));
    REQUIRE(trash.add_disk(directory / "d0"));
    REQUIRE(trash.add_disk(directory / "d1"));
    server =
        std::make_unique<EssServer>(reactor.runtime, apps, reactor.metrics,
                                    EssOptions{{"127.0.0.1", 0}, std::move(secret), {}, limits});
    const Status listening = server->listen();
    INFO((listening ? std::string() : listening.error().message));
    REQUIRE(listening);
    server->start();
  }
  ~SparkNode() { reactor.run(server->stop()); }
  SparkNode(const SparkNode&) = delete;
  SparkNode& operator=(const SparkNode&) = delete;

  [[nodiscard]] std::string local(int disk) const {
    return fmt::format("{}/d{}/local", directory.path(), disk);
  }
  // Two directories, one on each disk, as the executor knows them.
  [[nodiscard]] static std::vector<std::string> directories(std::string_view executor) {
    return {fmt::format("/mnt/local/disk0/blockmgr-{}", executor),
            fmt::format("/mnt/local/disk1/blockmgr-{}", executor)};
  }
  void add_executor(std::string_view app, std::string_view executor) {
    Client client(reactor, server->port());
    const Answer answer = client.ask(register_rpc(app, executor, directories(executor)));
    INFO(answer.text);
    REQUIRE(answer.type == FrameType::kRpcResponse);
    REQUIRE(answer.text.empty());
  }
  [[nodiscard]] std::string path_of(std::string_view executor, const std::string& name) const {
    const auto place = merge::spark_place(name, 2, 64);
    return fmt::format("{}/blockmgr-{}/{}", local(static_cast<int>(place.directory)), executor,
                       merge::spark_path_below(place, name));
  }
  void write_file(std::string_view executor, const std::string& name,
                  std::span<const std::byte> bytes) {
    const std::string path = path_of(executor, name);
    REQUIRE(io->make_directories(path.substr(0, path.rfind('/'))));
    REQUIRE(replace_file(*io, path, bytes));
  }
  void write_output(std::string_view executor, uint32_t shuffle, uint64_t map,
                    const std::vector<uint64_t>& lengths) {
    std::string data;
    for (std::size_t i = 0; i < lengths.size(); ++i)
      data += block_text(static_cast<int64_t>(map), static_cast<int32_t>(i), lengths[i]);
    const auto id = merge::ShuffleId{shuffle};
    write_file(executor, spark_file_name(id, merge::MapId{map}, merge::SparkFile::kData),
               bytes_of(data));
    write_file(executor, spark_file_name(id, merge::MapId{map}, merge::SparkFile::kIndex),
               merge::make_spark_index(lengths));
  }
  // As the committer does it when it has seen the files appear.
  void commit_output(std::string_view app, std::string_view executor, uint32_t shuffle,
                     uint64_t map) {
    const auto path = [&](merge::SparkFile file) {
      return path_of(executor, spark_file_name(merge::ShuffleId{shuffle}, merge::MapId{map}, file));
    };
    auto inspected = merge::inspect_files(
        *io, {*merge::AppId::parse(app), merge::ShuffleId{shuffle}}, merge::MapId{map},
        path(merge::SparkFile::kData), path(merge::SparkFile::kIndex));
    REQUIRE(inspected);
    REQUIRE(table.committed(std::move(inspected->output), std::move(inspected->sizes)).output);
  }
  [[nodiscard]] uint64_t metric(const std::string& name) const {
    return reactor.metrics.value("shufflefs_spark_" + name);
  }

  shufflefs::testing::TempDir directory;
  Reactor reactor;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  merge::Executors executors{*io, directory / "executors",
                             merge::LocalDirs({"/mnt"}, {local(0), local(1)}, {})};
  merge::Trash trash{reactor.runtime, *io, std::chrono::minutes(1)};
  shufflefs::testing::FakeCommits commits;
  merge::LogicalClock clock{*io, ""};
  merge::TableLog log{*io, directory / "table", clock};
  merge::ShuffleTable table{*io,    log, clock, *merge::NodeName::parse("n1"), directory / "heard",
                            1 << 20};
  merge::SparkApps apps{{reactor.runtime, *io, executors, trash, commits, {}, {}, &table}};
  std::unique_ptr<EssServer> server;
};

}  // namespace shufflefs::net::ess::testing
