#include "net/relay/choice.h"

namespace shufflefs::net::relay {
namespace {

// Of one request. A reduce task reads one partition, or a range of small ones.
constexpr std::size_t kMaxPartitions = 10'000;

}  // namespace

std::string_view to_string(Why why) {
  switch (why) {
    case Why::kMerged: return "merged";
    case Why::kUnknownNode: return "unknown_node";
    case Why::kNotMerged: return "not_merged";
    case Why::kTooLarge: return "too_large";
    case Why::kFailed: return "failed";
  }
  return "unknown";
}

std::optional<std::set<merge::PartitionId>> partitions_of(const ess::BlockList& blocks) {
  std::set<merge::PartitionId> partitions;
  for (std::size_t number = 0; number < blocks.chunks(); ++number) {
    // The list of reduces is that of the chunks; chunk() would look for the map too.
    const bool is_range = blocks.kind == ess::BlockList::Kind::kRanges;
    const int64_t begin = is_range ? blocks.reduces[2 * number] : blocks.reduces[number];
    const int64_t end = is_range ? blocks.reduces[2 * number + 1] : begin + 1;
    if (begin < 0) continue;
    if (end - begin > static_cast<int64_t>(kMaxPartitions)) return std::nullopt;
    for (int64_t partition = begin; partition < end; ++partition)
      partitions.insert(static_cast<merge::PartitionId>(partition));
    if (partitions.size() > kMaxPartitions) return std::nullopt;
  }
  return partitions;
}

Choice choose(const ess::BlockList& blocks, std::size_t chunk, const Readers& readers,
              std::optional<merge::NodeTag> origin, uint64_t max_block_bytes) {
  if (!origin) return {Why::kUnknownNode, {}, 0};
  const ess::BlockList::Chunk wanted = blocks.chunk(chunk);
  const auto map = static_cast<merge::MapId>(blocks.maps[wanted.map]);
  const bool is_range = blocks.kind == ess::BlockList::Kind::kRanges;
  Choice choice;
  for (int64_t partition = wanted.begin; partition < wanted.end; ++partition) {
    const auto reader = readers.find(static_cast<merge::PartitionId>(partition));
    if (reader == readers.end()) return {Why::kNotMerged, {}, 0};
    const merge::PlannedBlock* block = reader->second->find(map, *origin);
    if (block == nullptr) {
      // Nobody asks for an empty block alone.
      if (is_range && reader->second->is_empty(map, *origin)) continue;
      return {Why::kNotMerged, {}, 0};
    }
    if (block->length > max_block_bytes) return {Why::kTooLarge, {}, 0};
    choice.parts.push_back({reader->second.get(), block});
    choice.bytes += block->length;
  }
  if (choice.parts.empty()) return {Why::kNotMerged, {}, 0};
  // Of a frame; Spark asks for more by a StreamRequest, and it is rare.
  if (choice.bytes > ess::kMaxFrameBytes - 64) return {Why::kTooLarge, {}, 0};
  choice.why = Why::kMerged;
  return choice;
}

}  // namespace shufflefs::net::relay
