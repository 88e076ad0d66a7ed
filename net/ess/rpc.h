// The payloads of RPCs to an External Shuffle Service: a type byte, then the fields.
//
// Pure functions, any thread. Failure: kProtocol; the client gets it as an RpcFailure and the
// connection goes on, since the frame around it was sound. Cost: at most a small multiple of the
// bytes that have arrived. Source: spark-facts.md 1.4 (network.shuffle.protocol).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

// The bounds of what is read, beyond those of the frame. Applications and executors of any name are
// decoded, so that an answer can name them; what may be registered is merge::Executors' business.
inline constexpr std::size_t kLongestName = 1024;
inline constexpr std::size_t kLongestPath = 8192;

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

// ---- answers -------------------------------------------------------------------------------------

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
