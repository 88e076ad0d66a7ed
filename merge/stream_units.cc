#include "merge/stream_units.h"

#include <algorithm>

namespace shufflefs::merge {

std::vector<StreamUnit> cut_into_units(const PartitionPlan& plan) {
  std::vector<StreamUnit> units;
  bool open = false;  // may the last unit take another block?
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const PlannedBlock& block = plan.blocks[i];
    if (block.length > kUnitBytes) {
      for (uint64_t within = 0; within < block.length; within += kUnitBytes) {
        units.push_back({block.offset + within, std::min(kUnitBytes, block.length - within), i, 1,
                         within, true});
      }
      open = false;
      continue;
    }
    if (open && units.back().length + block.length <= kUnitBytes) {
      units.back().length += block.length;
      ++units.back().blocks;
    } else {
      units.push_back({block.offset, block.length, i, 1, 0, false});
    }
    open = true;
  }
  return units;
}

}  // namespace shufflefs::merge
