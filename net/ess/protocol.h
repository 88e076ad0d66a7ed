// Spark's block transfer protocol as bytes: frames (an int64 length that counts itself, a type
// byte, a header, a body) and, in the body of RPC frames, the messages of the shuffle service (a
// type byte, then the fields). Everything is big-endian.
//
// Pure functions, any thread. Failure: kProtocol. A frame that is wrong must end the connection, as
// with Spark's own server; an RPC that is wrong in a sound frame is answered by an RpcFailure.
// Cost: nothing is allocated for what a peer merely claims. Source: Spark's
// network.protocol.MessageEncoder, Message.Type and network.shuffle.protocol.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

// ---- frames --------------------------------------------------------------------------------------

inline constexpr std::size_t kLengthBytes = 8;
// What the Java client's decoder takes: a chunk cannot be larger.
inline constexpr uint64_t kMaxFrameBytes = 0x7FFFFFFF;

enum class FrameType : int8_t {
  kChunkFetchRequest = 0,
  kChunkFetchSuccess = 1,
  kChunkFetchFailure = 2,
  kRpcRequest = 3,
  kRpcResponse = 4,
  kRpcFailure = 5,
  kStreamRequest = 6,
  kStreamResponse = 7,
  kStreamFailure = 8,
  kOneWayMessage = 9,
  kUploadStream = 10,
  kMergedBlockMetaRequest = 11,
};

// What a client sends; views are of the frame.
struct ChunkFetchRequest {
  int64_t stream = 0;
  int32_t chunk = 0;
};
struct RpcRequest {
  int64_t id = 0;
  std::span<const std::byte> body;
};
struct StreamRequest {
  std::string_view stream;
};
// What a StreamRequest names: "<stream>_<chunk>". Nothing for another text.
struct StreamChunk {
  int64_t stream = 0;
  int32_t chunk = 0;
};
[[nodiscard]] std::optional<StreamChunk> parse_stream_chunk(std::string_view text);
struct OneWayMessage {
  std::span<const std::byte> body;
};
struct UploadStream {  // push-based shuffle only
  int64_t id = 0;
};
struct MergedBlockMetaRequest {  // push-based shuffle only
  int64_t id = 0;
};
using ClientFrame = std::variant<ChunkFetchRequest, RpcRequest, StreamRequest, OneWayMessage,
                                 UploadStream, MergedBlockMetaRequest>;

// `frame` is what follows the length.
[[nodiscard]] Result<ClientFrame> decode_frame(std::span<const std::byte> frame);

// The number of bytes that follow the length; kProtocol if there are none or more than `max_bytes`.
[[nodiscard]] Result<std::size_t> decode_length(std::span<const std::byte, kLengthBytes> bytes,
                                                std::size_t max_bytes);

// To be followed by `bytes` of the block. REQUIRES: bytes < kMaxFrameBytes - 64.
[[nodiscard]] Bytes chunk_success_head(int64_t stream, int32_t chunk, uint64_t bytes);
[[nodiscard]] Bytes chunk_failure(int64_t stream, int32_t chunk, std::string_view error);
[[nodiscard]] Bytes rpc_response(int64_t id, std::span<const std::byte> body);
[[nodiscard]] Bytes rpc_failure(int64_t id, std::string_view error);
// To be followed by `bytes` of the block, which the frame's length does not count.
[[nodiscard]] Bytes stream_response_head(std::string_view stream, uint64_t bytes);
[[nodiscard]] Bytes stream_failure(std::string_view stream, std::string_view error);

// A response to a request that no client has sent: clients log it and go on. It keeps a client from
// giving up a slow disk.
[[nodiscard]] Bytes sign_of_life();

// ---- RPCs ----------------------------------------------------------------------------------------

// The bounds of what is read, beyond those of the frame. Applications and executors of any name are
// decoded, so that a refusal can name them; what may be registered is merge::Executors' business.
inline constexpr std::size_t kMaxNameBytes = 1024;
inline constexpr std::size_t kMaxPathBytes = 8192;

enum class RpcType : int8_t {
  kOpenBlocks = 0,
  kUploadBlock = 1,
  kRegisterExecutor = 2,
  kStreamHandle = 3,
  kRegisterDriver = 4,
  kShuffleServiceHeartbeat = 5,
  kUploadBlockStream = 6,
  kRemoveBlocks = 7,
  kBlocksRemoved = 8,
  kFetchShuffleBlocks = 9,
  kGetLocalDirs = 10,
  kLocalDirs = 11,
  kPushBlockStream = 12,
  kFinalizeShuffleMerge = 13,
  kMergeStatuses = 14,
  kFetchShuffleBlockChunks = 15,
  kDiagnoseCorruption = 16,
  kCorruptionCause = 17,
  kBlockPushReturnCode = 18,
  kRemoveShuffleMerge = 19,
};

struct RegisterExecutor {
  std::string app;
  std::string executor;
  std::vector<std::string> directories;
  int32_t sub_directories = 0;
  std::string shuffle_manager;
};

// The blocks of one request, as chunk numbers count them. FetchShuffleBlocks and OpenBlocks become
// the same.
struct BlockList {
  enum class Kind : uint8_t {
    kPartitions,  // a chunk is one partition of a map output
    kRanges,      // a chunk is the partitions [reduces[2i], reduces[2i+1]) of map i
    kRdd,         // a chunk is the file of RDD maps[i], partition reduces[i]
  };
  std::string app;
  std::string executor;
  Kind kind = Kind::kPartitions;
  int32_t shuffle = 0;
  std::vector<int64_t> maps;
  std::vector<int32_t> reduces;
  // kPartitions: the chunks of maps[i] are [first[i], first[i + 1]). Empty for the other kinds.
  std::vector<uint32_t> first;

  [[nodiscard]] std::size_t chunks() const {
    return kind == Kind::kPartitions ? reduces.size() : maps.size();
  }
  // Which map output (index into `maps`) and which partitions a chunk is. REQUIRES: chunk <
  // chunks().
  struct Chunk {
    std::size_t map = 0;
    int64_t begin = 0;
    int64_t end = 0;
  };
  [[nodiscard]] Chunk chunk(std::size_t number) const;
  [[nodiscard]] std::size_t bytes() const;  // of memory, about
};

struct GetLocalDirs {
  std::string app;
  std::vector<std::string> executors;
};
struct RemoveBlocks {
  std::string app;
  std::string executor;
  std::vector<std::string> blocks;
};
struct DiagnoseCorruption {
  std::string app;
  std::string executor;
  int32_t shuffle = 0;
  int64_t map = 0;
  int32_t reduce = 0;
  int64_t checksum = 0;
  std::string algorithm;
};
// A message that only a service with push-based shuffle or a Mesos driver understands.
struct UnsupportedRpc {
  RpcType type{};
};
using Rpc = std::variant<RegisterExecutor, BlockList, GetLocalDirs, RemoveBlocks,
                         DiagnoseCorruption, UnsupportedRpc>;

[[nodiscard]] Result<Rpc> decode_rpc(std::span<const std::byte> body);
[[nodiscard]] std::string_view name_of(RpcType type);

// The bodies of responses.
enum class CorruptionCause : int8_t {
  kDisk = 0,
  kNetwork = 1,
  kUnknown = 2,
  kChecksumVerified = 3,
  kUnsupportedAlgorithm = 4,
};

[[nodiscard]] Bytes encode_stream_handle(int64_t stream, int32_t chunks);
[[nodiscard]] Bytes encode_blocks_removed(int32_t count);
// Executors with their directories.
[[nodiscard]] Bytes encode_local_dirs(
    const std::vector<std::pair<std::string, std::vector<std::string>>>& executors);
[[nodiscard]] Bytes encode_corruption_cause(CorruptionCause cause);

}  // namespace shufflefs::net::ess
