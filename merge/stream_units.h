// How a planned partition is cut into units for reading: whole blocks up to kUnitBytes together,
// and larger blocks in pieces of kUnitBytes. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "merge/partition_plan.h"

namespace shufflefs::merge {

inline constexpr uint64_t kUnitBytes = 1U << 20U;

struct StreamUnit {
  uint64_t offset = 0;  // within the partition
  uint64_t length = 0;
  std::size_t first_block = 0;
  std::size_t blocks = 1;  // whole blocks; or 1 and a piece of it
  uint64_t within = 0;     // where the piece begins in its block
  bool is_piece = false;   // not the whole block
};

[[nodiscard]] std::vector<StreamUnit> cut_into_units(const PartitionPlan& plan);

}  // namespace shufflefs::merge
