#include "net/ess/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/parse.h"
#include "merge/spark_files.h"
#include "net/ess/auth/server_auth.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::string_view kMerger = "shuffle-push-merger";

Error unexpected(std::string_view what) {
  return make_error(
      Code::kRefused,
      fmt::format("java.lang.UnsupportedOperationException: Unexpected message: {}", what));
}

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};

}  // namespace

Status Session::check_client(const std::string& app) const {
  if (!client_ || *client_ == app) return ok();
  services_.metrics.auth_failures.add();
  return make_error(Code::kPermission, not_authorized(*client_, app));
}

Task<Status> Session::rpc(RpcRequest request) {
  services_.metrics.requests.add();
  const TimePoint began = services_.runtime.now();
  auto decoded = decode_rpc(request.body);
  Result<Bytes> response = Bytes();
  if (!decoded)
    response = decoded.error();
  else
    response = co_await respond(std::move(*decoded));
  services_.metrics.rpc_seconds.observe(services_.runtime.now() - began);
  if (response) {
    outbox_.push(rpc_response(request.id, *response));
    co_return ok();
  }
  if (response.error().code == Code::kTooLarge) co_return response.error();
  services_.metrics.requests_failed.add();
  log_limited(LogLevel::kWarning, "spark.request_failed", {{"reason", response.error().message}});
  outbox_.push(rpc_failure(request.id, response.error().message));
  co_return ok();
}

Task<Result<Bytes>> Session::respond(Rpc rpc) {
  if (auto* blocks = std::get_if<BlockList>(&rpc)) co_return open_stream(std::move(*blocks));
  if (auto* message = std::get_if<RegisterExecutor>(&rpc))
    co_return co_await register_executor(std::move(*message));
  if (auto* message = std::get_if<GetLocalDirs>(&rpc)) co_return local_dirs(*message);
  if (auto* message = std::get_if<RemoveBlocks>(&rpc))
    co_return co_await remove_blocks(std::move(*message));
  if (auto* message = std::get_if<DiagnoseCorruption>(&rpc))
    co_return co_await corruption_cause(std::move(*message));
  co_return unexpected(name_of(std::get<UnsupportedRpc>(rpc).type));
}

Task<Result<Bytes>> Session::register_executor(RegisterExecutor message) {
  CO_TRY(check_client(message.app));
  merge::ExecutorRecord record{std::move(message.app),
                               std::move(message.executor),
                               std::move(message.directories),
                               static_cast<uint32_t>(std::max(0, message.sub_directories)),
                               std::move(message.shuffle_manager),
                               0,
                               std::nullopt};
  CO_TRY(co_await services_.apps.register_executor(std::move(record), services_.authenticates));
  services_.metrics.registrations.add();
  co_return Bytes();
}

Result<merge::ExecutorRef> Session::executor_of(const std::string& app,
                                                const std::string& executor) const {
  auto found = services_.apps.find(app, executor);
  if (found) return found;
  return make_error(Code::kNotFound,
                    fmt::format("Executor is not registered (appId={}, execId={})", app, executor));
}

Result<Bytes> Session::open_stream(BlockList blocks) {
  TRY(check_client(blocks.app));
  if (streams_.size() >= services_.limits.streams_per_connection) {
    return make_error(
        Code::kTooLarge,
        fmt::format("a connection has {} streams open, which is the limit", streams_.size()));
  }
  auto stream = std::make_shared<Stream>();
  const std::size_t chunks = blocks.chunks();
  if (chunks == 0) return encode_stream_handle(services_.next_stream, 0);
  // With what is needed beside the list: the bits, and the order for reading ahead.
  const uint64_t bytes = sizeof(Stream) + blocks.bytes() + chunks / 8 + blocks.maps.size() * 4;
  if (!stream->share.resize(services_.usage, bytes))
    return services_.usage.refused(fmt::format("a request for {} blocks of {}", chunks, blocks.app),
                                   bytes);
  stream->id = services_.next_stream;
  // Never negative, as Java's never is.
  services_.next_stream = (services_.next_stream + 1) & INT64_MAX;
  stream->blocks = std::move(blocks);
  stream->asked.resize(chunks);
  stream->left = chunks;
  const int64_t id = stream->id;
  services_.read_ahead.add(stream);
  streams_.emplace(id, std::move(stream));
  ++services_.streams;
  return encode_stream_handle(id, static_cast<int32_t>(chunks));
}

Result<Bytes> Session::local_dirs(const GetLocalDirs& message) const {
  TRY(check_client(message.app));
  std::vector<std::pair<std::string, std::vector<std::string>>> executors;
  for (const std::string& id : message.executors) {
    if (id == kMerger) return unexpected("directories of merged blocks (push-based shuffle)");
    const auto is_id = [&](const auto& entry) { return entry.first == id; };
    if (std::any_of(executors.begin(), executors.end(), is_id)) continue;
    TRY_ASSIGN(const merge::ExecutorRef executor, executor_of(message.app, id));
    std::vector<std::string> directories;
    for (const merge::LocalDir& directory : executor->directories)
      directories.push_back(directory.registered);
    executors.emplace_back(id, std::move(directories));
  }
  return encode_local_dirs(executors);
}

Task<Result<Bytes>> Session::remove_blocks(RemoveBlocks message) {
  CO_TRY(check_client(message.app));
  CO_TRY_ASSIGN(const merge::ExecutorRef executor, executor_of(message.app, message.executor));
  // Bare names only: no path leads out of the executor's directories.
  std::erase_if(message.blocks, [](const std::string& name) {
    return name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
           name.starts_with('.');
  });
  const std::size_t count =
      co_await services_.apps.remove_files(executor, std::move(message.blocks));
  services_.files.close_files_of(*executor);
  co_return encode_blocks_removed(static_cast<int32_t>(count));
}

Task<Result<Bytes>> Session::corruption_cause(DiagnoseCorruption message) {
  CO_TRY(check_client(message.app));
  const auto known = executor_of(message.app, message.executor);
  if (!known) co_return encode_corruption_cause(CorruptionCause::kUnknown);
  const merge::ExecutorRef& executor = *known;
  const std::string data =
      spark_file_name(static_cast<merge::ShuffleId>(message.shuffle),
                      static_cast<merge::MapId>(message.map), merge::SparkFile::kData);
  BlockFiles& files = services_.files;
  const CorruptionCause cause = co_await files.run_on(
      files.place_of(*executor, data).lane, [&] { return files.diagnose(*executor, message); });
  co_return encode_corruption_cause(cause);
}

Result<std::shared_ptr<Stream>> Session::take_chunk(int64_t stream_id, int64_t chunk) {
  const auto it = streams_.find(stream_id);
  if (it == streams_.end()) {
    return make_error(
        Code::kNotFound,
        fmt::format("Requested chunk not available since streamId {} is closed", stream_id));
  }
  std::shared_ptr<Stream> stream = it->second;
  const auto chunks = static_cast<int64_t>(stream->asked.size());
  if (chunk < 0 || chunk >= chunks) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("Requested chunk index {} beyond end {} of {}", chunk, chunks,
                                  BlockFiles::describe(stream->blocks, 0)));
  }
  const auto place = static_cast<std::size_t>(chunk);
  if (!stream->asked[place]) {
    stream->asked[place] = true;
    if (--stream->left == 0) {
      streams_.erase(it);
      --services_.streams;
    }
  }
  return stream;
}

Status Session::chunk(const ChunkFetchRequest& request) {
  auto stream = take_chunk(request.stream, request.chunk);
  if (stream) {
    outbox_.push_chunk(std::move(*stream), static_cast<uint32_t>(request.chunk), false);
  } else {
    services_.metrics.chunks_failed.add();
    outbox_.push(chunk_failure(request.stream, request.chunk, stream.error().message));
  }
  return ok();
}

Status Session::stream(const StreamRequest& request) {
  const auto asked = parse_stream_chunk(request.stream);
  Result<std::shared_ptr<Stream>> stream = make_error(
      Code::kNotFound,
      fmt::format("Unexpected stream id format: '{}' is not <stream>_<chunk>", request.stream));
  if (asked) stream = take_chunk(asked->stream, asked->chunk);
  if (stream) {
    outbox_.push_chunk(std::move(*stream), static_cast<uint32_t>(asked->chunk), true);
  } else {
    services_.metrics.chunks_failed.add();
    outbox_.push_in_order(stream_failure(request.stream, stream.error().message));
  }
  return ok();
}

Status Session::refuse(const ClientFrame& frame) {
  services_.metrics.requests_failed.add();
  return std::visit(
      Overloaded{[&](const UploadStream& upload) -> Status {
                   outbox_.push(rpc_failure(upload.id, unexpected("UploadStream").message));
                   // Its body follows the frame, of any length: Spark's own server gives up the
                   // connection as well.
                   return make_error(Code::kRefused, "a client of push-based shuffle");
                 },
                 [&](const MergedBlockMetaRequest& request) -> Status {
                   outbox_.push(
                       rpc_failure(request.id, unexpected("MergedBlockMetaRequest").message));
                   return ok();
                 },
                 // Nobody waits for an answer (RemoveShuffleMerge).
                 [](const auto&) -> Status { return ok(); }},
      frame);
}

}  // namespace shufflefs::net::ess
