#include "net/ess/frames.h"

#include <fmt/format.h>

#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kLongestStreamId = 4096;
// A client logs what it is told; a stack of contexts is enough, a flood is not.
constexpr std::size_t kLongestError = 8192;

// Starts a frame whose length field counts `uncounted` fewer bytes than are given in the end.
WireWriter start(FrameType type) {
  WireWriter writer;
  writer.number(int64_t{0}).number(static_cast<int8_t>(type));
  return writer;
}

// Writes the length: what is in the frame so far and `body` bytes that will follow.
Bytes finish(WireWriter& writer, uint64_t body = 0) {
  Bytes frame = writer.take();
  store_be(frame.data(), static_cast<int64_t>(frame.size() + body));
  return frame;
}

}  // namespace

Result<std::size_t> decode_length(std::span<const std::byte, kLengthBytes> bytes,
                                  std::size_t most) {
  const auto length = load_be<int64_t>(bytes.data());
  constexpr auto kItself = static_cast<int64_t>(kLengthBytes);
  if (length > kItself && static_cast<uint64_t>(length - kItself) <= most)
    return static_cast<std::size_t>(length - kItself);
  return make_error(
      Code::kProtocol,
      fmt::format("a frame of {} bytes, 9 to {} are allowed: {}", length, most + kLengthBytes,
                  static_cast<int>(bytes[0]) == 0x16
                      ? "a TLS client? spark.ssl.rpc.enabled is not supported"
                      : "is something else than Spark talking to this port?"));
}

Result<ClientFrame> decode_frame(std::span<const std::byte> frame) {
  WireReader reader("frame", frame);
  const auto type = reader.number<int8_t>("type");
  ClientFrame decoded;
  switch (static_cast<FrameType>(type)) {
    case FrameType::kChunkFetchRequest: {
      const auto stream = reader.number<int64_t>("streamId");
      decoded = ChunkFetchRequest{stream, reader.number<int32_t>("chunkIndex")};
      break;
    }
    case FrameType::kRpcRequest: {
      const auto id = reader.number<int64_t>("requestId");
      (void)reader.number<int32_t>("body length");  // the frame's own length decides
      decoded = RpcRequest{id, reader.rest()};
      break;
    }
    case FrameType::kStreamRequest:
      decoded = StreamRequest{reader.text("streamId", kLongestStreamId)};
      break;
    case FrameType::kOneWayMessage:
      (void)reader.number<int32_t>("body length");
      decoded = OneWayMessage{reader.rest()};
      break;
    case FrameType::kUploadStream:
      decoded = UploadStream{reader.number<int64_t>("requestId")};
      (void)reader.rest();
      break;
    case FrameType::kMergedBlockMetaRequest:
      decoded = MergedBlockMetaRequest{reader.number<int64_t>("requestId")};
      (void)reader.rest();
      break;
    default:
      return make_error(Code::kProtocol,
                        fmt::format("frame type {} is none that a client sends", type));
  }
  if (!reader.failed() && !reader.rest().empty())
    reader.refuse("end", "bytes follow the last field");
  if (reader.failed()) return reader.error();
  return decoded;
}

Bytes chunk_success_head(int64_t stream, int32_t chunk, uint64_t bytes) {
  WireWriter writer = start(FrameType::kChunkFetchSuccess);
  writer.number(stream).number(chunk);
  return finish(writer, bytes);
}

Bytes chunk_failure(int64_t stream, int32_t chunk, std::string_view error) {
  WireWriter writer = start(FrameType::kChunkFetchFailure);
  writer.number(stream).number(chunk).text(error.substr(0, kLongestError));
  return finish(writer);
}

Bytes rpc_response(int64_t id, std::span<const std::byte> body) {
  WireWriter writer = start(FrameType::kRpcResponse);
  writer.number(id).number(static_cast<int32_t>(body.size())).raw(body);
  return finish(writer);
}

Bytes rpc_failure(int64_t id, std::string_view error) {
  WireWriter writer = start(FrameType::kRpcFailure);
  writer.number(id).text(error.substr(0, kLongestError));
  return finish(writer);
}

Bytes stream_response_head(std::string_view stream, uint64_t bytes) {
  WireWriter writer = start(FrameType::kStreamResponse);
  writer.text(stream).number(static_cast<int64_t>(bytes));
  return finish(writer);
}

Bytes stream_failure(std::string_view stream, std::string_view error) {
  WireWriter writer = start(FrameType::kStreamFailure);
  writer.text(stream).text(error.substr(0, kLongestError));
  return finish(writer);
}

Bytes sign_of_life() {
  // Spark's request ids are absolute values: never -1.
  return rpc_response(-1, {});
}

}  // namespace shufflefs::net::ess
