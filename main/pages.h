// What `status`, `ls` and `show` print for people. Pure functions of what the node answers.
#pragma once

#include <string>
#include <vector>

#include "main/terminal.h"
#include "main/views.h"

namespace shufflefs {

[[nodiscard]] std::string status_page(View status, const Terminal& terminal);

// What an operator must know of a shuffle beyond its line in a table: a line each for what was
// given up or refused, and for nodes that do not answer. Empty if all is well.
[[nodiscard]] std::string shuffle_remarks(View shuffle, const Terminal& terminal);

// "up" or "down", and how fast, or why not.
[[nodiscard]] std::string peer_state(View peer, const Terminal& terminal);
[[nodiscard]] std::string peer_note(View peer);
// "n2 does not know n5 and n6; this node does not know n7".
[[nodiscard]] std::string difference_text(View difference);
// "node3 (connection refused)"; the reason alone if it names the node itself.
[[nodiscard]] std::string unreachable_text(View node);

[[nodiscard]] std::string shuffle_list_page(const std::vector<View>& shuffles,
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
[[nodiscard]] Skew skew_of(const std::vector<View>& partitions);

// `most` partitions are listed, the largest first.
[[nodiscard]] std::string shuffle_page(View shuffle, const std::vector<View>& partitions,
                                       std::size_t most, const Terminal& terminal);
[[nodiscard]] std::string partition_page(const std::string& shuffle, View partition,
                                         std::size_t most);

}  // namespace shufflefs
