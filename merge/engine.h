// The domain of one node put together: what the mount, the peer server and the status page talk to.
//
// Life: construct; prepare(); start() once the cluster is known; stop() before destruction.
// Threads: named at each member. Ownership: the references given must outlive it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/file_io.h"
#include "base/gate.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "merge/catalog.h"
#include "merge/cluster.h"
#include "merge/commits.h"
#include "merge/engine_options.h"
#include "merge/partition_sizes.h"
#include "merge/partition_stream.h"
#include "merge/spark_apps.h"

namespace shufflefs::merge {

class Engine {
 public:
  Engine(Runtime& runtime, FileIo& io, MemoryBudget& memory, Metrics& metrics,
         EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Makes the directories below each data dir. Before the mount is up; blocks.
  [[nodiscard]] Status prepare();
  // Reactor. Begins to announce and push. `cluster` outlives the engine.
  void start(Cluster& cluster);
  [[nodiscard]] Task<void> stop();

  // ---- the parts; reactor ---------------------------------------------------------------------------------------
  [[nodiscard]] std::shared_ptr<NodeApi> local_node();  // for the peer server and the cluster
  [[nodiscard]] Catalog& catalog();                     // after start()
  [[nodiscard]] SparkApps& spark_apps();                // for the shuffle service
  [[nodiscard]] CommitSink& commits();                  // for the mount's hooks; any thread

  // ---- for the namespace; any thread ----------------------------------------------------------------------------
  [[nodiscard]] std::string local_root(
      std::size_t disk) const;  // the directory behind local/disk<i>
  [[nodiscard]] std::size_t disks() const;
  // Those that this node has anything of, or another has told of; sorted.
  [[nodiscard]] std::vector<ShuffleKey> known_shuffles() const;
  // And those that are only a directory yet. Blocks on the disk.
  [[nodiscard]] std::vector<ShuffleKey> local_shuffles() const;
  // Spark's committed map outputs of this node in the shuffle (generic ones are in
  // generic_directory()), by map id.
  [[nodiscard]] std::vector<MapOutputRef> local_maps(const ShuffleKey& shuffle) const;
  // Whose an application is, as far as this node knows.
  [[nodiscard]] AppOwners& owners();
  // The merged file of a partition that this node owns, read-only and never to grow again, if it is
  // one gapless file of exactly `bytes` bytes; nothing otherwise (then it is streamed). Blocks on
  // the disk for one open.
  [[nodiscard]] std::optional<Fd> seal_for_passthrough(const ShuffleKey& shuffle,
                                                       PartitionId partition, uint64_t bytes);

  // What LocalNode::report answers with; before the network is up.
  void set_reporter(std::function<Task<Result<std::string>>(std::string about)> reporter);

  // ---- reactor ------------------------------------------------------------------------------------------------
  [[nodiscard]] std::shared_ptr<PartitionStream> open_stream(PartitionPlan plan);
  // The shuffle's partitions as far as this node knows by itself; 0 if it does not.
  [[nodiscard]] uint32_t known_partition_count(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::shared_ptr<const Placement> placement(const ShuffleKey& shuffle,
                                                           uint32_t partition_count);
  // Of this node alone.
  [[nodiscard]] Task<PartitionSizes> partition_sizes(PartitionSizesQuestion question);
  [[nodiscard]] Runtime& runtime();
  [[nodiscard]] const NodeName& self() const;

  // Reactor, after start(): begins or ends a drain (merge/drain.h).
  void drain(bool on);
  [[nodiscard]] DrainStatus drain_status() const;
  [[nodiscard]] std::vector<PushOwnerStatus> push_owners() const;
  // Any thread.
  [[nodiscard]] std::vector<DiskStatus> disk_status() const;

 private:
  [[nodiscard]] Status prepare_disk(std::size_t disk);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shufflefs::merge
