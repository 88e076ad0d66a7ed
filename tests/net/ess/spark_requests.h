// What a client of Spark's shuffle service sends, as bytes. Needs no test framework.
#pragma once

#include "net/ess/protocol.h"
#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess::testing {

inline Bytes framed(FrameType type, WireWriter& rest) {
  const Bytes tail = rest.take();
  return WireWriter()
      .number(static_cast<int64_t>(kLengthBytes + 1 + tail.size()))
      .number(static_cast<int8_t>(type))
      .raw(tail)
      .take();
}
inline Bytes rpc_frame(int64_t id, const Bytes& body) {
  WireWriter writer;
  writer.number(id).number(static_cast<int32_t>(body.size())).raw(body);
  return framed(FrameType::kRpcRequest, writer);
}
inline Bytes chunk_frame(int64_t stream, int32_t chunk) {
  WireWriter writer;
  writer.number(stream).number(chunk);
  return framed(FrameType::kChunkFetchRequest, writer);
}
inline Bytes stream_frame(std::string_view id) {
  WireWriter writer;
  writer.text(id);
  return framed(FrameType::kStreamRequest, writer);
}
inline WireWriter rpc(RpcType type) {
  WireWriter writer;
  writer.number(static_cast<int8_t>(type));
  return writer;
}
inline Bytes register_rpc(std::string_view app, std::string_view executor,
                          const std::vector<std::string>& directories) {
  WireWriter writer = rpc(RpcType::kRegisterExecutor);
  writer.text(app).text(executor).number(static_cast<int32_t>(directories.size()));
  for (const std::string& directory : directories) writer.text(directory);
  return writer.number(int32_t{64}).text("org.apache.spark.shuffle.sort.SortShuffleManager").take();
}
struct MapAndReduces {
  int64_t map;
  std::vector<int32_t> reduces;
};
inline Bytes fetch_rpc(std::string_view app, std::string_view executor, int32_t shuffle,
                       const std::vector<MapAndReduces>& maps, bool batch = false) {
  WireWriter writer = rpc(RpcType::kFetchShuffleBlocks);
  writer.text(app).text(executor).number(shuffle).number(static_cast<int32_t>(maps.size()));
  for (const auto& map : maps) writer.number(map.map);
  writer.number(static_cast<int32_t>(maps.size()));
  for (const auto& map : maps) {
    writer.number(static_cast<int32_t>(map.reduces.size()));
    for (const int32_t reduce : map.reduces) writer.number(reduce);
  }
  return writer.number(static_cast<int8_t>(batch)).take();
}
inline Bytes open_rpc(std::string_view app, std::string_view executor,
                      const std::vector<std::string>& blocks) {
  WireWriter writer = rpc(RpcType::kOpenBlocks);
  writer.text(app).text(executor).number(static_cast<int32_t>(blocks.size()));
  for (const std::string& block : blocks) writer.text(block);
  return writer.take();
}

}  // namespace shufflefs::net::ess::testing
