// What a client asks over one connection, and the responses: RPCs, streams, chunks. Knows frames
// that have been decoded and an outbox; no socket.
//
// Threads: reactor. Ownership: services and outbox outlive it. Failure: what a client may be told
// is answered by a failure frame; an error returned means that the connection must be closed, after
// what is in the outbox if `kRefused`, else at once.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "merge/spark_apps.h"
#include "net/ess/outbox.h"

namespace shufflefs::net::ess {

struct Services {
  Runtime& runtime;
  merge::SparkApps& apps;
  BlockFiles& files;
  ReadAhead& read_ahead;
  Usage& usage;
  EssMetrics& metrics;
  const EssLimits& limits;
  bool authenticates = false;
  int64_t next_stream = 0;
  std::size_t streams = 0;  // of all sessions
};

class Session {
 public:
  Session(Services& services, Outbox& outbox) : services_(services), outbox_(outbox) {}
  ~Session() { services_.streams -= streams_.size(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // The application that the connection is authenticated for.
  void set_client(std::string app) { client_ = std::move(app); }

  // The frame's views stay valid until the call has returned.
  [[nodiscard]] Task<Status> rpc(RpcRequest request);
  [[nodiscard]] Status chunk(const ChunkFetchRequest& request);
  [[nodiscard]] Status stream(const StreamRequest& request);
  // Frames of push-based shuffle, which this service has not.
  [[nodiscard]] Status refuse(const ClientFrame& frame);

 private:
  [[nodiscard]] Task<Result<Bytes>> respond(Rpc rpc);
  [[nodiscard]] Task<Result<Bytes>> register_executor(RegisterExecutor message);
  [[nodiscard]] Task<Result<Bytes>> remove_blocks(RemoveBlocks message);
  [[nodiscard]] Task<Result<Bytes>> corruption_cause(DiagnoseCorruption message);
  [[nodiscard]] Result<Bytes> open_stream(BlockList blocks);
  [[nodiscard]] Result<Bytes> local_dirs(const GetLocalDirs& message) const;
  [[nodiscard]] Result<merge::ExecutorRef> executor_of(const std::string& app,
                                                       const std::string& executor) const;
  [[nodiscard]] Status check_client(const std::string& app) const;
  // The stream, and that the chunk is one of it; then the chunk is taken as asked for.
  [[nodiscard]] Result<std::shared_ptr<Stream>> take_chunk(int64_t stream_id, int64_t chunk);

  Services& services_;
  Outbox& outbox_;
  std::optional<std::string> client_;
  std::unordered_map<int64_t, std::shared_ptr<Stream>> streams_;
};

}  // namespace shufflefs::net::ess
