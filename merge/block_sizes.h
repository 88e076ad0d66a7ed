// How large the blocks of a map output are: those that have bytes, by partition. A map output that
// has bytes in one partition of a million costs as much as one that has one partition.
//
// Threads: a value. Memory: 12 bytes for each block that has bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "merge/ids.h"

namespace shufflefs::merge {

class BlockSizes {
 public:
  BlockSizes() = default;
  // By partition; 0 is an empty block.
  explicit BlockSizes(std::span<const uint64_t> lengths) {
    for (std::size_t p = 0; p < lengths.size(); ++p) add(static_cast<PartitionId>(p), lengths[p]);
    partition_count_ = static_cast<uint32_t>(lengths.size());
  }

  // REQUIRES: behind all that were added.
  void add(PartitionId partition, uint64_t length) {
    partition_count_ = number(partition) + 1;
    if (length == 0) return;
    partitions_.push_back(number(partition));
    ends_.push_back(total_bytes() + length);
  }

  [[nodiscard]] uint32_t partition_count() const { return partition_count_; }
  [[nodiscard]] uint64_t total_bytes() const { return ends_.empty() ? 0 : ends_.back(); }

  // ---- the blocks that have bytes, in the order of their partitions
  struct Block {
    PartitionId partition{};
    uint64_t offset = 0;  // when all blocks are laid end to end
    uint64_t length = 0;
  };
  [[nodiscard]] std::size_t size() const { return partitions_.size(); }
  [[nodiscard]] Block operator[](std::size_t i) const {
    const uint64_t begin = i > 0 ? ends_[i - 1] : 0;
    return {static_cast<PartitionId>(partitions_[i]), begin, ends_[i] - begin};
  }
  // The first one of this partition or a later one; size() if there is none.
  [[nodiscard]] std::size_t first_from(uint64_t partition) const {
    return static_cast<std::size_t>(
        std::lower_bound(partitions_.begin(), partitions_.end(), partition) - partitions_.begin());
  }
  // 0 if it is empty, or there is none.
  [[nodiscard]] uint64_t length(PartitionId partition) const {
    const std::size_t i = first_from(number(partition));
    return i < size() && partitions_[i] == number(partition) ? (*this)[i].length : 0;
  }

  [[nodiscard]] std::size_t memory_bytes() const {
    return sizeof(*this) + partitions_.capacity() * sizeof(uint32_t) +
           ends_.capacity() * sizeof(uint64_t);
  }
  friend bool operator==(const BlockSizes&, const BlockSizes&) = default;

 private:
  uint32_t partition_count_ = 0;
  std::vector<uint32_t> partitions_;
  std::vector<uint64_t> ends_;
};

}  // namespace shufflefs::merge
