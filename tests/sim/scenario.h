// What one seed stands for: how large the cluster is, what is written and read, and what goes
// wrong. Everything follows from the seed, so that a seed can be run again.
#pragma once

#include <optional>
#include <string>

#include "base/runtime.h"

namespace shufflefs::sim {

struct Scenario {
  uint64_t seed = 0;
  std::size_t nodes = 0;
  std::size_t disks = 1;
  std::size_t shuffles = 1;
  uint32_t partitions = 1;
  uint64_t maps = 0;
  uint64_t reads = 0;
  uint64_t block_bytes = 0;                    // of the largest
  uint64_t memory = 0;                         // of a node, for everything
  uint64_t split_bytes = UINT64_MAX;           // merge.split-bytes
  Duration active = std::chrono::seconds(60);  // in which all of the following happens

  // How often, over the whole time.
  uint64_t crashes = 0;
  uint64_t stops = 0;     // in good order, started again
  uint64_t removals = 0;  // of map outputs
  uint64_t rewrites = 0;  // removals whose map id is written again
  uint64_t drops = 0;
  uint64_t cuts = 0;  // of a link, or of a node from all others
  uint64_t slow_nodes = 0;
  uint64_t sick_disks = 0;  // a time of I/O errors, or of no answer but errors
  uint64_t full_disks = 0;
  uint64_t flipped_bits = 0;  // in merged data
  uint64_t joins = 0;
  uint64_t leaves = 0;
  uint64_t drains = 0;  // of nodes that leave when it is said to be safe
  bool drains_at_once = false;
  // Moments at which every node writes several map outputs while the disks of one are slow: the
  // others send it more than it has memory for.
  uint64_t bursts = 0;
  uint64_t squeezes = 0;  // times in which slow senders hold most of a node's memory for requests
  bool lossy_network = false;
  bool power_losses = false;  // some crashes take what was written lately with them
  bool skewed_clocks = false;
  bool gaps = false;
  bool restart_at_end = false;  // of all nodes: whatever was given up is then offered again
};

// `gaps` has the situations in that are known to be handled wrongly (docs/simulation.md).
// `nodes` and `only` override what the seed says: the size, and the one kind of fault to have
// ("crashes", "network", "disks", "members", "memory", "removals", "none").
[[nodiscard]] Scenario make_scenario(uint64_t seed, std::optional<std::size_t> nodes,
                                     const std::string& only = {}, bool gaps = false);
[[nodiscard]] std::string to_string(const Scenario& scenario);

}  // namespace shufflefs::sim
