// The numbers that no part of the node counts by itself: how full the disks are, and the metrics
// that are read off its parts when somebody asks. Those of the parts are registered where they are
// counted; docs/metrics.md has all.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "main/mounts.h"
#include "merge/cluster.h"
#include "merge/engine.h"

namespace shufflefs {

struct DataDisk {
  std::string name;  // disk0
  std::string path;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  std::string reason;  // why the numbers are not current; empty: they are
};

// Sizes and free space of the data disks as remembered numbers, refreshed when somebody asks: a
// disk that hangs must hang neither the status nor the metrics, which are there to say so. Threads:
// refresh() on the reactor, the rest on any. Ownership: the Runtime and FileIo outlive it and its
// jobs. Failure: a disk that errors or does not answer keeps its last numbers and has a reason.
// Cost: one job on a disk thread for each disk and refresh; a hanging disk holds one.
class DiskSpaces {
 public:
  DiskSpaces(Runtime& runtime, FileIo& io, const std::vector<std::string>& paths);

  // Asks every disk that is not being asked still, and waits for the answers, a second at most.
  [[nodiscard]] Task<void> refresh();
  [[nodiscard]] std::vector<DataDisk> last() const;

 private:
  struct Disk {
    Mutex mu;
    DataDisk space GUARDED_BY(mu);
    bool asking GUARDED_BY(mu) = false;
    TimePoint asked_at GUARDED_BY(mu){};
  };
  void ask(const std::shared_ptr<Disk>& disk);
  [[nodiscard]] bool is_asking() const;

  Runtime& runtime_;
  FileIo& io_;
  std::vector<std::shared_ptr<Disk>> disks_;  // constant after construction
};

// Threads: registered once at start; evaluated on the reactor: no value waits for a disk.
// Ownership: the referred-to parts outlive the Metrics' last rendering.
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
