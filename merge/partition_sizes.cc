#include "merge/partition_sizes.h"

#include <algorithm>

namespace shufflefs::merge {

PartitionSizer::Counted& PartitionSizer::count(const ShuffleKey& shuffle,
                                               const std::vector<MapOutputRef>& outputs) {
  const auto found = std::find_if(counted_.begin(), counted_.end(),
                                  [&](const Counted& c) { return c.shuffle == shuffle; });
  if (found == counted_.end())
    counted_.push_front({shuffle, {}, {}});
  else
    counted_.splice(counted_.begin(), counted_, found);
  if (counted_.size() > kRemembered) counted_.pop_back();
  Counted& counted = counted_.front();

  std::set<std::pair<MapId, uint64_t>> there;
  for (const MapOutputRef& output : outputs) there.emplace(output->map, output->commit);
  // What was removed cannot be subtracted any more: its index is gone.
  if (!std::includes(there.begin(), there.end(), counted.maps.begin(), counted.maps.end()))
    counted = {shuffle, {}, {}};
  std::size_t read = 0;
  for (const MapOutputRef& output : outputs) {
    if (counted.maps.contains({output->map, output->commit})) continue;
    if (read++ == kMostOutputs) break;
    const auto sizes = read_sizes(io_, *output);
    if (!sizes) continue;  // removed meanwhile, or unreadable: whoever reads it will say so
    for (std::size_t i = 0; i < sizes->size(); ++i)
      counted.bytes[number((*sizes)[i].partition)] += (*sizes)[i].length;
    counted.maps.emplace(output->map, output->commit);
  }
  return counted;
}

PartitionSizes PartitionSizer::sizes(const PartitionSizesQuestion& question) {
  const uint32_t cells = std::min(question.cells, PartitionSizesQuestion::kMostCells);
  const uint64_t end = question.first + uint64_t{cells} * question.width;
  PartitionSizes sizes;
  sizes.committed_bytes.resize(cells);
  sizes.merged_bytes.resize(cells);
  const auto cell_of = [&](uint64_t partition) {
    return (partition - question.first) / question.width;
  };
  const std::vector<MapOutputRef> outputs = table_.of(question.shuffle);
  sizes.maps = outputs.size();
  {
    const MutexLock lock(mu_);
    const Counted& counted = count(question.shuffle, outputs);
    sizes.maps_counted = counted.maps.size();
    for (auto it = counted.bytes.lower_bound(question.first);
         it != counted.bytes.end() && it->first < end; ++it)
      sizes.committed_bytes[cell_of(it->first)] += it->second;
  }
  for (const PartitionId partition : store_.partitions(question.shuffle)) {
    const uint64_t p = number(partition);
    if (p < question.first || p >= end) continue;
    if (const auto merged = store_.find(question.shuffle, partition))
      sizes.merged_bytes[cell_of(p)] += (*merged)->bytes();
  }
  return sizes;
}

}  // namespace shufflefs::merge
