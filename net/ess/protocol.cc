#include "net/ess/protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/parse.h"
#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess {

// ---- frames --------------------------------------------------------------------------------------

namespace {

constexpr std::size_t kMaxStreamIdBytes = 4096;
// A client logs what it is told; a stack of contexts is enough, a flood is not.
constexpr std::size_t kMaxErrorBytes = 8192;

}  // namespace

std::optional<StreamChunk> parse_stream_chunk(std::string_view text) {
  const auto parts = shufflefs::split(text, '_');
  const auto stream = parts.size() == 2 ? parse_decimal(parts[0], INT64_MAX) : std::nullopt;
  const auto chunk = parts.size() == 2 ? parse_decimal(parts[1], INT32_MAX) : std::nullopt;
  if (!stream || !chunk) return std::nullopt;
  return StreamChunk{static_cast<int64_t>(*stream), static_cast<int32_t>(*chunk)};
}

Result<std::size_t> decode_length(std::span<const std::byte, kLengthBytes> bytes,
                                  std::size_t max_bytes) {
  const auto length = load_be<int64_t>(bytes.data());
  constexpr auto kItself = static_cast<int64_t>(kLengthBytes);
  if (length > kItself && static_cast<uint64_t>(length - kItself) <= max_bytes)
    return static_cast<std::size_t>(length - kItself);
  return make_error(
      Code::kProtocol,
      fmt::format("a frame of {} bytes, 9 to {} are allowed: {}", length, max_bytes + kLengthBytes,
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
      decoded = StreamRequest{reader.text("streamId", kMaxStreamIdBytes)};
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
  WireWriter writer = WireWriter::frame(FrameType::kChunkFetchSuccess);
  writer.number(stream).number(chunk);
  return writer.take_frame(bytes);
}

Bytes chunk_failure(int64_t stream, int32_t chunk, std::string_view error) {
  WireWriter writer = WireWriter::frame(FrameType::kChunkFetchFailure);
  writer.number(stream).number(chunk).text(error.substr(0, kMaxErrorBytes));
  return writer.take_frame();
}

Bytes rpc_response(int64_t id, std::span<const std::byte> body) {
  WireWriter writer = WireWriter::frame(FrameType::kRpcResponse);
  writer.number(id).number(static_cast<int32_t>(body.size())).raw(body);
  return writer.take_frame();
}

Bytes rpc_failure(int64_t id, std::string_view error) {
  WireWriter writer = WireWriter::frame(FrameType::kRpcFailure);
  writer.number(id).text(error.substr(0, kMaxErrorBytes));
  return writer.take_frame();
}

Bytes stream_response_head(std::string_view stream, uint64_t bytes) {
  WireWriter writer = WireWriter::frame(FrameType::kStreamResponse);
  writer.text(stream).number(static_cast<int64_t>(bytes));
  return writer.take_frame();
}

Bytes stream_failure(std::string_view stream, std::string_view error) {
  WireWriter writer = WireWriter::frame(FrameType::kStreamFailure);
  writer.text(stream).text(error.substr(0, kMaxErrorBytes));
  return writer.take_frame();
}

Bytes sign_of_life() {
  // Spark's request ids are absolute values: never -1.
  return rpc_response(-1, {});
}

// ---- RPCs ----------------------------------------------------------------------------------------

namespace {

std::string name(WireReader& reader, std::string_view what) {
  return std::string(reader.text(what, kMaxNameBytes));
}

struct TextBounds {
  std::size_t min_bytes;
  std::size_t max_bytes;
  std::size_t max_count;
};
constexpr TextBounds kDirectories = {.min_bytes = 1, .max_bytes = kMaxPathBytes, .max_count = 1024};
constexpr TextBounds kExecutorIds = {
    .min_bytes = 1, .max_bytes = kMaxNameBytes, .max_count = 10'000};
// "rdd_0_0" is the shortest. With it, a list takes at most six times the memory of its message.
constexpr TextBounds kBlockIds = {
    .min_bytes = 7, .max_bytes = kMaxNameBytes, .max_count = 1'000'000};

std::vector<std::string> texts(WireReader& reader, std::string_view what,
                               const TextBounds& bounds) {
  const std::size_t count = reader.count(what, 4 + bounds.min_bytes);
  if (count > bounds.max_count) reader.refuse(what, fmt::format("more than {}", bounds.max_count));
  std::vector<std::string> values;
  if (!reader.failed()) values.reserve(count);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i)
    values.emplace_back(reader.text(what, bounds.max_bytes));
  return values;
}

// The parts of "shuffle_1_2_3" behind its prefix, each a canonical number.
std::optional<std::vector<uint64_t>> numbers(std::string_view text, std::size_t expected,
                                             uint64_t max) {
  const auto parts = shufflefs::split(text, '_');
  if (parts.size() != expected) return std::nullopt;
  std::vector<uint64_t> values;
  for (const std::string_view part : parts) {
    const auto value = parse_decimal(part, max);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

RegisterExecutor register_executor(WireReader& reader) {
  RegisterExecutor message;
  message.app = name(reader, "appId");
  message.executor = name(reader, "execId");
  message.directories = texts(reader, "localDirs", kDirectories);
  message.sub_directories = reader.number<int32_t>("subDirsPerLocalDir");
  message.shuffle_manager = reader.text("shuffleManager", kMaxPathBytes);
  return message;
}

BlockList fetch_shuffle_blocks(WireReader& reader) {
  BlockList list;
  list.app = name(reader, "appId");
  list.executor = name(reader, "execId");
  list.shuffle = reader.id32("shuffleId");
  const std::size_t maps = reader.count("mapIds", 8);
  list.maps.reserve(maps);
  for (std::size_t i = 0; i < maps; ++i) list.maps.push_back(reader.id64("mapIds"));
  const std::size_t lists = reader.count("reduceIds", 4);
  if (lists != maps) reader.refuse("reduceIds", "there are not as many lists as map ids");
  list.first.reserve(maps + 1);
  bool pairs = true;
  for (std::size_t i = 0; i < lists && !reader.failed(); ++i) {
    const std::size_t reduces = reader.count("reduceIds", 4);
    list.first.push_back(static_cast<uint32_t>(list.reduces.size()));
    pairs = pairs && reduces == 2;
    for (std::size_t j = 0; j < reduces; ++j)
      list.reduces.push_back(reader.number<int32_t>("reduceIds"));
  }
  list.first.push_back(static_cast<uint32_t>(list.reduces.size()));
  if (reader.number<int8_t>("batchFetchEnabled") != 0) {
    if (!pairs) reader.refuse("reduceIds", "a range of partitions is not a begin and an end");
    list.kind = BlockList::Kind::kRanges;
    list.first.clear();
    list.first.shrink_to_fit();
  }
  return list;
}

// What OpenBlocks may ask for: all of the kind and the shuffle of the first.
void open_block(WireReader& reader, BlockList& list, std::string_view id) {
  constexpr std::string_view kShuffle = "shuffle_";
  constexpr std::string_view kRdd = "rdd_";
  const bool is_first = list.maps.empty();
  if (id.starts_with(kRdd)) {
    const auto parts = numbers(id.substr(kRdd.size()), 2, INT32_MAX);
    if (parts && is_first) list.kind = BlockList::Kind::kRdd;
    if (parts && list.kind == BlockList::Kind::kRdd) {
      list.maps.push_back(static_cast<int64_t>((*parts)[0]));
      list.reduces.push_back(static_cast<int32_t>((*parts)[1]));
      return;
    }
  } else if (id.starts_with(kShuffle)) {
    const auto parts = numbers(id.substr(kShuffle.size()), 3, INT64_MAX);
    const bool fits = parts && (*parts)[0] <= INT32_MAX && (*parts)[2] <= INT32_MAX;
    if (fits && is_first) list.shuffle = static_cast<int32_t>((*parts)[0]);
    if (fits && list.kind == BlockList::Kind::kPartitions &&
        list.shuffle == static_cast<int32_t>((*parts)[0])) {
      list.first.push_back(static_cast<uint32_t>(list.reduces.size()));
      list.maps.push_back(static_cast<int64_t>((*parts)[1]));
      list.reduces.push_back(static_cast<int32_t>((*parts)[2]));
      return;
    }
  }
  reader.refuse("blockIds",
                fmt::format("Unexpected block id format: {}: all must be of one kind and shuffle, "
                            "shuffle_<shuffle>_<map>_<reduce> or rdd_<rdd>_<partition>",
                            id.substr(0, 100)));
}

BlockList open_blocks(WireReader& reader) {
  BlockList list;
  list.app = name(reader, "appId");
  list.executor = name(reader, "execId");
  const std::size_t blocks = reader.count("blockIds", 4);
  if (blocks == 0) reader.refuse("blockIds", "it is empty");
  for (std::size_t i = 0; i < blocks && !reader.failed(); ++i) {
    const std::string_view id = reader.text("blockIds", kMaxNameBytes);
    if (!reader.failed()) open_block(reader, list, id);
  }
  if (list.kind == BlockList::Kind::kPartitions)
    list.first.push_back(static_cast<uint32_t>(list.reduces.size()));
  return list;
}

DiagnoseCorruption diagnose_corruption(WireReader& reader) {
  DiagnoseCorruption message;
  message.app = name(reader, "appId");
  message.executor = name(reader, "execId");
  message.shuffle = reader.id32("shuffleId");
  message.map = reader.id64("mapId");
  message.reduce = reader.id32("reduceId");
  message.checksum = reader.number<int64_t>("checksum");
  message.algorithm = reader.text("algorithm", kMaxNameBytes);
  return message;
}

WireWriter rpc_of(RpcType type) {
  WireWriter writer;
  writer.number(static_cast<int8_t>(type));
  return writer;
}

}  // namespace

BlockList::Chunk BlockList::chunk(std::size_t number) const {
  switch (kind) {
    case Kind::kRanges: return {number, reduces[2 * number], reduces[2 * number + 1]};
    case Kind::kRdd: return {number, reduces[number], int64_t{reduces[number]} + 1};
    case Kind::kPartitions: break;
  }
  const auto next = std::upper_bound(first.begin(), first.end(), number);
  return {static_cast<std::size_t>(next - first.begin()) - 1, reduces[number],
          int64_t{reduces[number]} + 1};
}

std::size_t BlockList::bytes() const {
  return sizeof(*this) + app.size() + executor.size() + maps.capacity() * 8 +
         reduces.capacity() * 4 + first.capacity() * 4;
}

Result<Rpc> decode_rpc(std::span<const std::byte> body) {
  WireReader reader("RPC", body);
  const auto type = reader.number<int8_t>("type");
  // The text that the JVM's service answers; clients whose authentication is on while ours is off
  // recognise nothing else.
  if (!reader.failed() && (type < 0 || type > static_cast<int8_t>(RpcType::kRemoveShuffleMerge))) {
    return make_error(
        Code::kProtocol,
        fmt::format("java.lang.IllegalArgumentException: Unknown message type: {}", type));
  }
  Rpc rpc;
  switch (static_cast<RpcType>(type)) {
    case RpcType::kRegisterExecutor: rpc = register_executor(reader); break;
    case RpcType::kFetchShuffleBlocks: rpc = fetch_shuffle_blocks(reader); break;
    case RpcType::kOpenBlocks: rpc = open_blocks(reader); break;
    case RpcType::kGetLocalDirs: {
      GetLocalDirs message;
      message.app = name(reader, "appId");
      message.executors = texts(reader, "execIds", kExecutorIds);
      rpc = std::move(message);
      break;
    }
    case RpcType::kRemoveBlocks: {
      RemoveBlocks message;
      message.app = name(reader, "appId");
      message.executor = name(reader, "execId");
      message.blocks = texts(reader, "blockIds", kBlockIds);
      rpc = std::move(message);
      break;
    }
    case RpcType::kDiagnoseCorruption: rpc = diagnose_corruption(reader); break;
    default:
      rpc = UnsupportedRpc{static_cast<RpcType>(type)};
      (void)reader.rest();
      break;
  }
  // What follows the last field is ignored, as by Java: it could be a newer client's.
  if (reader.failed()) return reader.error();
  return rpc;
}

std::string_view name_of(RpcType type) {
  switch (type) {
    case RpcType::kOpenBlocks: return "OpenBlocks";
    case RpcType::kUploadBlock: return "UploadBlock";
    case RpcType::kRegisterExecutor: return "RegisterExecutor";
    case RpcType::kStreamHandle: return "StreamHandle";
    case RpcType::kRegisterDriver: return "RegisterDriver";
    case RpcType::kShuffleServiceHeartbeat: return "ShuffleServiceHeartbeat";
    case RpcType::kUploadBlockStream: return "UploadBlockStream";
    case RpcType::kRemoveBlocks: return "RemoveBlocks";
    case RpcType::kBlocksRemoved: return "BlocksRemoved";
    case RpcType::kFetchShuffleBlocks: return "FetchShuffleBlocks";
    case RpcType::kGetLocalDirs: return "GetLocalDirsForExecutors";
    case RpcType::kLocalDirs: return "LocalDirsForExecutors";
    case RpcType::kPushBlockStream: return "PushBlockStream";
    case RpcType::kFinalizeShuffleMerge: return "FinalizeShuffleMerge";
    case RpcType::kMergeStatuses: return "MergeStatuses";
    case RpcType::kFetchShuffleBlockChunks: return "FetchShuffleBlockChunks";
    case RpcType::kDiagnoseCorruption: return "DiagnoseCorruption";
    case RpcType::kCorruptionCause: return "CorruptionCause";
    case RpcType::kBlockPushReturnCode: return "BlockPushReturnCode";
    case RpcType::kRemoveShuffleMerge: return "RemoveShuffleMerge";
  }
  return "unknown";
}

Bytes encode_stream_handle(int64_t stream, int32_t chunks) {
  return rpc_of(RpcType::kStreamHandle).number(stream).number(chunks).take();
}

Bytes encode_blocks_removed(int32_t count) {
  return rpc_of(RpcType::kBlocksRemoved).number(count).take();
}

Bytes encode_local_dirs(
    const std::vector<std::pair<std::string, std::vector<std::string>>>& executors) {
  WireWriter writer = rpc_of(RpcType::kLocalDirs);
  const auto count = static_cast<int32_t>(executors.size());
  int32_t all = 0;
  writer.number(count);
  for (const auto& [id, directories] : executors) writer.text(id);
  writer.number(count);
  for (const auto& [id, directories] : executors) {
    writer.number(static_cast<int32_t>(directories.size()));
    all += static_cast<int32_t>(directories.size());
  }
  writer.number(all);
  for (const auto& [id, directories] : executors) {
    for (const std::string& directory : directories) writer.text(directory);
  }
  return writer.take();
}

Bytes encode_corruption_cause(CorruptionCause cause) {
  return rpc_of(RpcType::kCorruptionCause).number(static_cast<int8_t>(cause)).take();
}

}  // namespace shufflefs::net::ess
