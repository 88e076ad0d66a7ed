// What `ls` and `show` print for people: the table of shuffles, one shuffle with its skew, one
// partition with its blocks. Pure functions of what the node answers.
#pragma once

#include <string>
#include <vector>

#include "main/partition_view.h"
#include "main/status_view.h"
#include "main/terminal.h"

namespace shufflefs {

[[nodiscard]] std::string shuffle_list_page(const std::vector<ShuffleView>& shuffles,
                                            const Terminal& terminal);

// How unevenly the bytes of a shuffle lie: partitions by size, in classes that double.
struct Skew {
  struct Class {
    uint64_t least = 0;  // bytes
    uint64_t below = 0;
    std::size_t partitions = 0;
  };
  std::vector<Class> classes;  // from the smallest to the largest partition, without gaps
  std::size_t empty = 0;
  uint64_t median = 0;  // of those with bytes
  uint64_t largest = 0;
  uint64_t largest_partition = 0;
};
[[nodiscard]] Skew skew_of(const std::vector<PartitionView>& partitions);

// `most` partitions are listed, the largest first.
[[nodiscard]] std::string shuffle_page(const ShuffleView& shuffle,
                                       const std::vector<PartitionView>& partitions,
                                       std::size_t most, const Terminal& terminal);
[[nodiscard]] std::string partition_page(const std::string& shuffle, const PartitionView& partition,
                                         const std::vector<BlockView>& blocks, std::size_t most);

}  // namespace shufflefs
