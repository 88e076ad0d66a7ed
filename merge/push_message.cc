#include "merge/push_message.h"

#include <fmt/format.h>

#include "base/crc32c.h"

namespace shufflefs::merge {
namespace {

Status read_chunk(FileIo& io, const PushChunk& chunk, std::span<std::byte> into) {
  const MapOutput& output = *chunk.output;
  if (output.form == MapOutput::Form::kFiles)
    return read_committed(io, output.data_path, output.data_stamp, chunk.data_offset, into);
  for (const BlockToPush& block : chunk.blocks) {
    TRY(read_block(io, output, block.partition, 0, into.first(block.length)));
    into = into.subspan(block.length);
  }
  return ok();
}

}  // namespace

PushChunk make_push_chunk(std::shared_ptr<const MapOutput> output, const PlannedChunk& planned,
                          uint32_t bucket_width) {
  PushChunk chunk;
  chunk.output = std::move(output);
  chunk.bytes = planned.bytes;
  chunk.data_offset = planned.offset;
  chunk.group = number(planned.partitions.front()) / bucket_width;
  chunk.blocks.reserve(planned.partitions.size());
  for (std::size_t i = 0; i < planned.partitions.size(); ++i)
    chunk.blocks.push_back({planned.partitions[i], planned.lengths[i]});
  return chunk;
}

std::vector<std::pair<NodeName, PushChunk>> split_by_owner(
    const PushChunk& chunk, const std::function<NodeName(PartitionId)>& owner_of) {
  std::vector<std::pair<NodeName, PushChunk>> pieces;
  uint64_t offset = chunk.data_offset;
  for (const BlockToPush& block : chunk.blocks) {
    NodeName owner = owner_of(block.partition);
    if (pieces.empty() || pieces.back().first != owner) {
      PushChunk piece = chunk;
      piece.blocks.clear();
      piece.bytes = 0;
      piece.data_offset = offset;
      pieces.emplace_back(std::move(owner), std::move(piece));
    }
    PushChunk& piece = pieces.back().second;
    piece.blocks.push_back(block);
    piece.bytes += block.length;
    offset += block.length;
  }
  return pieces;
}

PushMessage make_push_message(FileIo& io, const NodeName& self, std::vector<PushChunk> chunks,
                              Buffer payload,
                              const std::function<bool(const MapOutput&)>& is_current) {
  PushMessage message;
  message.request.shuffle = chunks.front().output->shuffle;
  message.request.sender = self;
  message.request.life = chunks.front().output->life;
  message.request.offer = chunks.front().offer;
  message.request.owner = chunks.front().output->owner;
  std::size_t at = 0;
  for (PushChunk& chunk : chunks) {
    PushPart part{chunk.output->map, {chunk.output->commit, tag_of(self)}, {}};
    part.blocks.reserve(chunk.blocks.size());
    const bool offer = message.request.offer;
    std::span<std::byte> bytes;
    if (!offer) {
      bytes = payload.span().subspan(at, chunk.bytes);
      const Status read = read_chunk(io, chunk, bytes);
      // A removal that we have not seen before may be why it could not be read, or the bytes may be
      // those of a later file of the same name.
      if (!is_current(*chunk.output)) {
        message.outdated.push_back(std::move(chunk));
        continue;
      }
      if (!read) {
        message.unreadable.emplace_back(std::move(chunk), read.error().message);
        continue;
      }
      at += chunk.bytes;
    }
    for (const BlockToPush& block : chunk.blocks) {
      const uint32_t crc = offer ? 0 : crc32c(bytes.first(block.length));
      if (!offer) bytes = bytes.subspan(block.length);
      part.blocks.push_back({block.partition, crc, block.length});
    }
    message.request.parts.push_back(std::move(part));
    message.chunks.push_back(std::move(chunk));
  }
  payload.shrink(at);
  message.request.payload = std::move(payload);
  return message;
}

}  // namespace shufflefs::merge
