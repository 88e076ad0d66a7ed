#include "net/ess/client_protocol.h"

#include <fmt/format.h>

#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kMaxIdOfStream = 1024;
constexpr std::size_t kMaxErrorText = std::size_t{1} << 20U;

}  // namespace

Bytes rpc_request(int64_t id, std::span<const std::byte> body) {
  WireWriter writer = WireWriter::frame(FrameType::kRpcRequest);
  writer.number(id).number(static_cast<int32_t>(body.size())).raw(body);
  return writer.take_frame();
}

Bytes chunk_request(int64_t stream, int32_t chunk) {
  WireWriter writer = WireWriter::frame(FrameType::kChunkFetchRequest);
  writer.number(stream).number(chunk);
  return writer.take_frame();
}

Bytes stream_request(std::string_view stream) {
  WireWriter writer = WireWriter::frame(FrameType::kStreamRequest);
  writer.text(stream);
  return writer.take_frame();
}

Bytes whole_frame(std::span<const std::byte> frame) {
  WireWriter writer;
  writer.number(static_cast<int64_t>(frame.size() + kLengthBytes)).raw(frame);
  return writer.take();
}

Bytes encode_fetch(const BlockList& blocks, std::span<const uint32_t> chunks) {
  std::vector<int64_t> maps;
  std::vector<std::vector<int32_t>> reduces;
  std::size_t last = SIZE_MAX;
  const bool ranges = blocks.kind == BlockList::Kind::kRanges;
  for (const uint32_t number : chunks) {
    const BlockList::Chunk chunk = blocks.chunk(number);
    if (ranges || chunk.map != last) {
      maps.push_back(blocks.maps[chunk.map]);
      reduces.emplace_back();
      last = chunk.map;
    }
    reduces.back().push_back(static_cast<int32_t>(chunk.begin));
    if (ranges) reduces.back().push_back(static_cast<int32_t>(chunk.end));
  }
  WireWriter writer;
  writer.number(static_cast<int8_t>(RpcType::kFetchShuffleBlocks));
  writer.text(blocks.app).text(blocks.executor).number(blocks.shuffle);
  writer.number(static_cast<int32_t>(maps.size()));
  for (const int64_t map : maps) writer.number(map);
  writer.number(static_cast<int32_t>(reduces.size()));
  for (const auto& list : reduces) {
    writer.number(static_cast<int32_t>(list.size()));
    for (const int32_t reduce : list) writer.number(reduce);
  }
  writer.number(static_cast<int8_t>(ranges ? 1 : 0));
  return writer.take();
}

Result<StreamHandle> decode_stream_handle(std::span<const std::byte> body) {
  WireReader reader("StreamHandle", body);
  const auto type = reader.number<int8_t>("type");
  if (!reader.failed() && type != static_cast<int8_t>(RpcType::kStreamHandle))
    reader.refuse("type", fmt::format("it is {}", type));
  StreamHandle handle;
  handle.stream = reader.number<int64_t>("streamId");
  handle.chunks = reader.id32("numChunks");
  if (reader.failed()) return reader.error();
  return handle;
}

Result<ServerFrame> decode_server_frame(std::span<const std::byte> frame) {
  WireReader reader("answer", frame);
  const auto type = reader.number<int8_t>("type");
  ServerFrame decoded;
  switch (static_cast<FrameType>(type)) {
    case FrameType::kChunkFetchSuccess: {
      const auto stream = reader.number<int64_t>("streamId");
      decoded = ChunkFetchSuccess{stream, reader.number<int32_t>("chunkIndex")};
      break;
    }
    case FrameType::kChunkFetchFailure: {
      const auto stream = reader.number<int64_t>("streamId");
      const auto chunk = reader.number<int32_t>("chunkIndex");
      decoded = ChunkFetchFailure{stream, chunk, reader.text("error", kMaxErrorText)};
      break;
    }
    case FrameType::kRpcResponse: {
      const auto id = reader.number<int64_t>("requestId");
      (void)reader.number<int32_t>("body length");
      decoded = RpcResponse{id, reader.rest()};
      break;
    }
    case FrameType::kRpcFailure: {
      const auto id = reader.number<int64_t>("requestId");
      decoded = RpcFailure{id, reader.text("error", kMaxErrorText)};
      break;
    }
    case FrameType::kStreamResponse: {
      const auto stream = reader.text("streamId", kMaxIdOfStream);
      decoded = StreamResponse{stream, static_cast<uint64_t>(reader.id64("byteCount"))};
      break;
    }
    case FrameType::kStreamFailure: {
      const auto stream = reader.text("streamId", kMaxIdOfStream);
      decoded = StreamFailure{stream, reader.text("error", kMaxErrorText)};
      break;
    }
    default:
      if (!reader.failed())
        reader.refuse("type", fmt::format("{} is none that a server sends", type));
  }
  if (reader.failed()) return reader.error();
  return decoded;
}

}  // namespace shufflefs::net::ess
