// A stranger's whole connection to Spark's shuffle service: registrations, requests, chunks and
// garbage in any order.
//
// The first byte says whether the service asks for a secret, which the script cannot know. Held to:
// the connection ends; the answers are frames of a server's types, only the last of which may be
// cut off; nothing stays open or counted; and without the secret no block is ever sent.
#include "base/endian.h"
#include "merge/map_output.h"
#include "merge/spark_apps.h"
#include "merge/spark_files.h"
#include "net/ess/server.h"
#include "support/fake_commits.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/session_targets.h"
#include "tests/net/ess/spark_requests.h"

namespace shufflefs::fuzz {
namespace {

using namespace net::ess;           // NOLINT(google-build-using-namespace): its wire
using namespace net::ess::testing;  // NOLINT(google-build-using-namespace): its clients
using net::Bytes;

constexpr std::string_view kApp = "app-1";
constexpr std::string_view kExecutor = "0";
constexpr std::string_view kBlockText = "what only a reader of the shuffle may see";

struct Service {
  Service(Loop& loop, const std::string& directory, std::shared_ptr<const AuthSecret> secret)
      : root(directory),
        executors(*io, root + "/executors", merge::LocalDirs({"/mnt"}, {root + "/d0/local"}, {})),
        trash(loop.runtime, *io, std::chrono::minutes(1)),
        apps({loop.runtime, *io, executors, trash, commits, {}}),
        loop_(loop) {
    require(io->make_directories(root + "/d0/local").has_value());
    require(trash.add_disk(root + "/d0").has_value());
    EssLimits limits;
    limits.request_bytes = 1 << 20;
    limits.frame_bytes = 1 << 18;
    limits.streams_per_connection = 64;
    limits.queued_chunks = 64;
    server = std::make_unique<EssServer>(
        loop.runtime, apps, metrics, EssOptions{{"127.0.0.1", 0}, std::move(secret), {}, limits});
    require(server->listen().has_value());
    server->start();
    write_output();
  }
  ~Service() { loop_.run(server->stop()); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] bool is_idle() const {
    const EssStatus status = server->status();
    return status.connections == 0 && status.streams == 0 && status.request_bytes == 0;
  }

  const std::string root;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  Metrics metrics;
  merge::Executors executors;
  merge::Trash trash;
  shufflefs::testing::FakeCommits commits;
  merge::SparkApps apps;
  std::unique_ptr<EssServer> server;

 private:
  // Map output 0 of shuffle 0: four blocks.
  void write_output() {
    std::string data;
    const std::vector<uint64_t> lengths(4, kBlockText.size());
    for (std::size_t i = 0; i < lengths.size(); ++i) data += kBlockText;
    const auto write = [this](merge::SparkFile kind, std::span<const std::byte> bytes) {
      const std::string name = spark_file_name(merge::ShuffleId{0}, merge::MapId{0}, kind);
      const auto place = merge::spark_place(name, 1, 64);
      const std::string path =
          root + "/d0/local/blockmgr-0/" + merge::spark_path_below(place, name);
      require(io->make_directories(path.substr(0, path.rfind('/'))).has_value());
      require(replace_file(*io, path, bytes).has_value());
    };
    write(merge::SparkFile::kData, std::as_bytes(std::span(data)));
    write(merge::SparkFile::kIndex, merge::make_spark_index(lengths));
  }

  Loop& loop_;
};

struct World {
  shufflefs::testing::InMemory in_memory;
  shufflefs::testing::TempDir directory;
  Loop loop;
  Service open{loop, directory / "open", nullptr};
  Service guarded{loop, directory / "guarded", std::make_shared<AuthSecret>("no script knows it")};
};

Bytes step(Script& script) {
  constexpr int64_t kId = 42;
  switch (script.byte() % 9) {
    case 0: return rpc_frame(kId, register_rpc(kApp, kExecutor, {"/mnt/local/disk0/blockmgr-0"}));
    case 1: {
      const auto map = static_cast<int64_t>(script.byte() % 2);
      return rpc_frame(kId,
                       fetch_rpc(kApp, kExecutor, 0, {{map, {script.byte() % 4, script.byte()}}},
                                 script.byte() % 2 == 1));
    }
    case 2: {
      const std::string block = "shuffle_0_0_" + std::to_string(script.byte() % 5);
      return rpc_frame(kId, open_rpc(kApp, kExecutor, {block, block}));
    }
    case 3: {
      const auto stream = static_cast<int64_t>(script.number(1));
      return chunk_frame(stream, static_cast<int32_t>(script.byte() % 4));
    }
    case 4: {
      const Input id = script.piece(1);
      return stream_frame({reinterpret_cast<const char*>(id.data()), id.size()});
    }
    case 5: {
      const Input body = script.piece(2);
      return rpc_frame(static_cast<int64_t>(script.number(8)), {body.begin(), body.end()});
    }
    case 6: {  // a request of the script's own fields
      WireWriter body = rpc(static_cast<RpcType>(script.byte() % 20));
      return rpc_frame(kId, body.text(kApp).text(kExecutor).raw(script.piece(1)).take());
    }
    case 7: {
      const auto type = static_cast<FrameType>(script.byte() % 14);
      WireWriter rest;
      rest.raw(script.piece(2));
      return framed(type, rest);
    }
    default: {
      const Input raw = script.piece(2);
      return {raw.begin(), raw.end()};
    }
  }
}

bool is_from_a_server(FrameType type) {
  switch (type) {
    case FrameType::kChunkFetchSuccess:
    case FrameType::kChunkFetchFailure:
    case FrameType::kRpcResponse:
    case FrameType::kRpcFailure:
    case FrameType::kStreamResponse:
    case FrameType::kStreamFailure: return true;
    default: return false;
  }
}

void check_answers(Input answers) {
  while (answers.size() > kLengthBytes) {
    const auto length = load_be<uint64_t>(answers.data());
    const auto type = static_cast<FrameType>(answers[kLengthBytes]);
    require(length > kLengthBytes && length <= kMaxFrameBytes && is_from_a_server(type));
    if (length > answers.size()) return;
    std::size_t body = 0;
    if (type == FrameType::kStreamResponse) {  // the bytes behind it are not counted by its length
      const auto name = load_be<uint32_t>(&answers[kLengthBytes + 1]);
      require(kLengthBytes + 1 + sizeof name + name + sizeof(uint64_t) <= length);
      body = load_be<uint64_t>(&answers[kLengthBytes + 1 + sizeof name + name]);
    }
    if (body > answers.size() - length) return;
    answers = answers.subspan(length + body);
  }
}

}  // namespace

void spark_session(Input input) {
  static World world;
  Script script(input);
  const bool guarded = script.byte() % 2 == 1;
  Service& service = guarded ? world.guarded : world.open;
  std::vector<std::byte> answers;
  {
    Stranger stranger(world.loop, connect_to({"127.0.0.1", service.server->port()}));
    while (!script.done()) stranger.send(step(script));
    answers = stranger.end();
  }
  check_answers(answers);
  if (guarded) {
    const std::string_view text(reinterpret_cast<const char*>(answers.data()), answers.size());
    require(text.find(kBlockText) == std::string_view::npos);
  }
  world.loop.until([&service] { return service.is_idle(); });
}

}  // namespace shufflefs::fuzz
