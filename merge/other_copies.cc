#include "merge/other_copies.h"

#include "merge/ask_nodes.h"

namespace shufflefs::merge {

OtherCopies::OtherCopies(Runtime& runtime, Gate& gate, Cluster& cluster, ShuffleKey shuffle,
                         PartitionId partition)
    : runtime_(runtime),
      gate_(gate),
      cluster_(cluster),
      shuffle_(std::move(shuffle)),
      partition_(partition) {}

std::vector<MergedAt> OtherCopies::known(const PlannedBlock& block) const {
  std::vector<MergedAt> copies;
  const auto [first, last] = found_.equal_range(MapCommit{block.map, block.id});
  for (auto it = first; it != last; ++it) {
    const Copy& copy = it->second;
    if (copy.length != block.length) continue;
    if (block.merged &&
        (copy.at.holder == block.merged->holder || copy.at.crc != block.merged->crc))
      continue;
    copies.push_back(copy.at);
  }
  return copies;
}

Task<std::vector<MergedAt>> OtherCopies::of(const PlannedBlock& block) {
  if (auto copies = known(block); !copies.empty()) co_return copies;
  const std::vector<NodeName> names = cluster_.names();
  const auto answers = co_await ask_nodes<PartitionInfo>(
      runtime_, gate_, cluster_, names,
      [shuffle = shuffle_, partition = partition_](NodeApi& node) {
        return node.merged_info(shuffle, partition);
      });
  found_.clear();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!answers[i]) continue;
    for (const MergedBlock& merged : answers[i]->merged)
      found_.emplace(MapCommit{merged.map, merged.id},
                     Copy{merged.length, MergedAt{names[i], merged.offset, merged.crc}});
  }
  co_return known(block);
}

}  // namespace shufflefs::merge
