#include "merge/push_chunk.h"

#include <random>

#include "base/crc32c.h"

namespace shufflefs::merge {
namespace {

// Adds the chunks of the blocks that `target_of` gives a node for.
template <class TargetOf>
void add_chunks(ChunkPlan& plan, const BlockSizes& sizes, ChunkLimits limits, uint32_t bucket_width,
                TargetOf target_of) {
  // More blocks than this in one chunk would make its header large for no gain.
  constexpr std::size_t kMaxBlocks = 4096;
  auto& chunks = plan.chunks;
  bool open = false;  // may the last chunk still grow?
  // Empty blocks do not break a run: the bytes before and after them touch.
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const BlockSizes::Block block = sizes[i];
    const std::optional<NodeName> target =
        block.length <= limits.max_block_bytes ? target_of(block.partition) : std::nullopt;
    if (!target) {
      open = false;
      continue;
    }
    const bool fits = open && chunks.back().first == *target &&
                      chunks.back().second.bytes + block.length <= limits.chunk_bytes &&
                      chunks.back().second.blocks.size() < kMaxBlocks;
    if (!fits) {
      PushChunk& begun = chunks.emplace_back(*target, PushChunk{}).second;
      begun.data_offset = block.offset;
      begun.group = number(block.partition) / bucket_width;
    }
    PushChunk& chunk = chunks.back().second;
    chunk.bytes += block.length;
    chunk.blocks.push_back({block.partition, block.length});
    open = true;
  }
}

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

ChunkPlan plan_chunks(const BlockSizes& sizes, const Placement& placement, ChunkLimits limits,
                      MapId seed, const std::optional<NodeName>& replicate_from) {
  ChunkPlan plan;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].length <= limits.max_block_bytes) continue;
    ++plan.blocks_left_home;
    plan.bytes_left_home += sizes[i].length;
  }
  add_chunks(plan, sizes, limits, placement.bucket_width(),
             [&](PartitionId p) { return std::optional(placement.owner(p)); });
  if (replicate_from) {
    add_chunks(plan, sizes, limits, placement.bucket_width(), [&](PartitionId p) {
      return placement.owner(p) == *replicate_from ? placement.second(p) : std::nullopt;
    });
  }
  // Fisher-Yates by hand: std::shuffle's result is not the same in every standard library.
  std::mt19937_64 random(number(seed) + 1);
  for (std::size_t i = plan.chunks.size(); i > 1; --i)
    std::swap(plan.chunks[i - 1], plan.chunks[random() % i]);
  return plan;
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
  const PushChunk& first = chunks.front();
  const bool offer = first.offer;
  message.request.shuffle = first.output->shuffle;
  message.request.sender = self;
  message.request.life = first.output->life;
  message.request.offer = offer;
  message.request.owner = first.output->owner;
  std::size_t at = 0;
  for (PushChunk& chunk : chunks) {
    PushPart part{chunk.output->map, {chunk.output->commit, tag_of(self)}, {}};
    part.blocks.reserve(chunk.blocks.size());
    std::span<std::byte> bytes;
    if (!offer) {
      bytes = payload.span().subspan(at, chunk.bytes);
      const Status read = read_chunk(io, chunk, bytes);
      // A removal that we have not seen before may be why it could not be read, or the bytes may be
      // those of a later file of the same name.
      if (!is_current(*chunk.output)) continue;
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
