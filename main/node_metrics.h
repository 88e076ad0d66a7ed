// The metrics that no part of the node counts by itself: what is read off its parts when somebody
// asks for them. Those of the parts are registered where they are counted; docs/metrics.md has all.
//
// Threads: registered once at start; evaluated where the metrics are rendered, which is the
// reactor: no value waits for a disk. Ownership: the referred-to parts outlive the Metrics' last
// rendering.
#pragma once

#include <cstdint>

#include "base/memory_budget.h"
#include "base/metrics.h"
#include "main/disk_spaces.h"
#include "main/mount_probe.h"
#include "merge/cluster.h"
#include "merge/engine.h"

namespace shufflefs {

struct NodeMetricsSources {
  const merge::Engine& engine;
  merge::Cluster& cluster;
  const MemoryBudget& memory;
  uint32_t workers;  // that have served the mount, this one included
  const DiskSpaces& disks;
  const MountProbe& probe;
};

void register_node_metrics(Metrics& metrics, const NodeMetricsSources& sources);

// Of this process, from /proc; 0 where it cannot be read.
[[nodiscard]] uint64_t resident_bytes();

}  // namespace shufflefs
