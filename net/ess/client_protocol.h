// The other side of net/ess/protocol.h: what a client of Spark's shuffle service sends, and how it
// takes the answers apart. For the relay, which is a client of the blocks' origins.
//
// Pure functions, any thread. Failure: kProtocol; the connection has to be closed then.
#pragma once

#include "net/ess/protocol.h"

namespace shufflefs::net::ess {

[[nodiscard]] Bytes rpc_request(int64_t id, std::span<const std::byte> body);
[[nodiscard]] Bytes chunk_request(int64_t stream, int32_t chunk);
[[nodiscard]] Bytes stream_request(std::string_view stream);
// A frame of a client as it came: `frame` is what followed the length.
[[nodiscard]] Bytes whole_frame(std::span<const std::byte> frame);

// FetchShuffleBlocks for these chunks of the list, which become the chunks 0, 1, ... of the answer.
// REQUIRES: it is not of RDD blocks.
[[nodiscard]] Bytes encode_fetch(const BlockList& blocks, std::span<const uint32_t> chunks);

struct StreamHandle {
  int64_t stream = 0;
  int32_t chunks = 0;
};
[[nodiscard]] Result<StreamHandle> decode_stream_handle(std::span<const std::byte> body);

// What a server sends; views are of the frame.
struct ChunkFetchSuccess {  // its block follows
  static constexpr std::size_t kHeadBytes = 1 + 8 + 4;
  int64_t stream = 0;
  int32_t chunk = 0;
};
struct ChunkFetchFailure {
  int64_t stream = 0;
  int32_t chunk = 0;
  std::string_view error;
};
struct RpcResponse {
  int64_t id = 0;
  std::span<const std::byte> body;
};
struct RpcFailure {
  int64_t id = 0;
  std::string_view error;
};
struct StreamResponse {  // so many bytes follow the frame
  std::string_view stream;
  uint64_t bytes = 0;
};
struct StreamFailure {
  std::string_view stream;
  std::string_view error;
};
using ServerFrame = std::variant<ChunkFetchSuccess, ChunkFetchFailure, RpcResponse, RpcFailure,
                                 StreamResponse, StreamFailure>;

// `frame` is what follows the length; of a ChunkFetchSuccess its first kHeadBytes.
[[nodiscard]] Result<ServerFrame> decode_server_frame(std::span<const std::byte> frame);

}  // namespace shufflefs::net::ess
