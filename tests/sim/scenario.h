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
  bool power_losses = false;   // some crashes take what was written lately with them
  bool skewed_clocks = false;  // by seconds
  double cut_chance = 0;       // of disk work, at each operation: others go on meanwhile
  uint64_t harms = 0;          // files of map outputs lost, cut, replaced, unreadable
  uint64_t new_disks = 0;      // a node comes back without its data, or without one directory
  uint64_t twins = 0;          // a map id that two nodes commit
  uint64_t clock_jumps = 0;    // by hours; then clocks differ by hours from the start, too
  uint64_t hangs = 0;          // of a disk
  uint64_t reuses = 0;         // drops after which the name is used at once
  bool late_events =
      false;               // Spark's files are told of late, and sometimes not (local-mode = bind)
  bool old_views = false;  // some begin with a list of members that lacks others
  bool restart_at_end = false;  // of all nodes: whatever was given up is then offered again
};

// `nodes` and `only` override what the seed says: the size, and the one kind of fault to have
// ("crashes", "network", "disks", "members", "drains", "memory", "removals", "lost", "twins",
// "clocks", "views", "hangs", "reuse", "races", "events", "none").
[[nodiscard]] Scenario make_scenario(uint64_t seed, std::optional<std::size_t> nodes,
                                     const std::string& only = {});
[[nodiscard]] std::string to_string(const Scenario& scenario);

}  // namespace shufflefs::sim
