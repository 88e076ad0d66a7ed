// The frames of Spark's block transfer protocol: an int64 length that counts itself, a type byte, a
// header, a body. Everything is big-endian.
//
// Pure functions over bytes, any thread. Failure: kProtocol; the connection must then be closed, as
// Spark's own server does. Cost: nothing is allocated for what a peer merely claims. Source:
// spark-facts.md 1.1 to 1.3 (network.protocol.MessageEncoder, Message.Type).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

inline constexpr std::size_t kLengthBytes = 8;
// What the Java client's decoder takes: a chunk cannot be larger.
inline constexpr uint64_t kMostFrameBytes = 0x7FFFFFFF;

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

// ---- what a client sends; views are of the frame -------------------------------------------------

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

// The number of bytes that follow the length; kProtocol if there are none or more than `most`.
[[nodiscard]] Result<std::size_t> decode_length(std::span<const std::byte, kLengthBytes> bytes,
                                                std::size_t most);

// ---- what the server sends -----------------------------------------------------------------------

// To be followed by `bytes` of the block. REQUIRES: bytes < kMostFrameBytes - 64.
[[nodiscard]] Bytes chunk_success_head(int64_t stream, int32_t chunk, uint64_t bytes);
[[nodiscard]] Bytes chunk_failure(int64_t stream, int32_t chunk, std::string_view error);
[[nodiscard]] Bytes rpc_response(int64_t id, std::span<const std::byte> body);
[[nodiscard]] Bytes rpc_failure(int64_t id, std::string_view error);
// To be followed by `bytes` of the block, which the frame's length does not count.
[[nodiscard]] Bytes stream_response_head(std::string_view stream, uint64_t bytes);
[[nodiscard]] Bytes stream_failure(std::string_view stream, std::string_view error);

// An answer to a question that no client has asked: clients log it and go on. It is what keeps a
// client from giving a slow disk up (spark-facts.md 1.7).
[[nodiscard]] Bytes sign_of_life();

}  // namespace shufflefs::net::ess
