#include "merge/engine.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "base/mutex.h"
#include "merge/announcer.h"
#include "merge/committer.h"
#include "merge/disk_keeper.h"
#include "merge/drain.h"
#include "merge/executor_process.h"
#include "merge/local_node.h"
#include "merge/merge_store.h"
#include "merge/placement.h"
#include "merge/pusher.h"
#include "merge/shuffle_table.h"
#include "merge/spark_reaper.h"
#include "merge/trash.h"

namespace shufflefs::merge {
namespace {

LocalDirs local_dirs(const EngineOptions& options) {
  std::vector<std::string> disks;
  disks.reserve(options.data_dirs.size());
  for (const std::string& data_dir : options.data_dirs) disks.push_back(data_dir + "/local");
  return {options.mounts, std::move(disks), options.allowed_dirs};
}

// How long a commit through the mount waits for the other members to know of it.
constexpr auto kTellTimeout = std::chrono::seconds(1);

// Something that is waited for by a thread.
class Done {
 public:
  void set() {
    const MutexLock lock(mu_);
    is_set_ = true;
    changed_.notify_all();
  }
  void wait() {
    MutexLock lock(mu_);
    while (!is_set_) changed_.wait(lock);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool is_set_ GUARDED_BY(mu_) = false;
};

}  // namespace

struct Engine::Impl {
  Impl(Runtime& runtime_in, FileIo& io_in, MemoryBudget& memory_in, Metrics& metrics_in,
       EngineOptions options_in)
      : runtime(runtime_in),
        io(io_in),
        memory(memory_in),
        metrics(metrics_in),
        options(std::move(options_in)),
        lengths(io, memory.caches_bytes() / 6),
        trash(runtime, io, options.trash_grace),
        clock(io, options.data_dirs.front() + "/clock"),
        log(io, options.data_dirs.front() + "/table", clock),
        table(io, log, clock, options.self, options.data_dirs.front() + "/heard",
              memory.caches_bytes() / 6),
        disks(io, options.data_dirs, options.disk.reserve_bytes),
        store(io, trash, disks,
              {.cache_bytes = memory.caches_bytes() / 6,
               .held_bytes = 2 * memory.caches_bytes() / 6,
               .index_copies_bytes = memory.caches_bytes() / 6,
               .split_bytes = options.split_bytes,
               .verify = options.verify_merged,
               .life_of = [this](const ShuffleKey& key) { return table.life_of(key); }}),
        disk_keeper(runtime, disks, store, metrics, options.disk),
        executors(io, options.data_dirs.front() + "/executors", local_dirs(options)),
        committer({runtime, io, metrics, table, trash, options.data_dirs,
                   [this](const MapOutputRef& output) { committed(output); },
                   [this](const MapOutputRef& output) { ended(output); },
                   [this](const std::string& path) { return executors.application_of(path); },
                   &owners, options.app_quota, [this] { wait_until_told(); },
                   options.has_unread_events}),
        executor_finder(runtime, io, executors),
        spark_apps({runtime, io, executors, trash, committer, options.forget_names,
                    [this](const Executor& executor) { executor_finder.look_for(executor); },
                    &table}),
        reaper({runtime, io, executors, trash, committer, options.forget_names, {}},
               {.app_ttl = options.app_ttl}),
        lives(runtime, options.self, table, store, committer, lengths, owners),
        receiver(runtime, memory.of(MemoryPurpose::kReceive), metrics, table, store, owners, lives,
                 options.push.max_block_bytes),
        node(std::make_shared<LocalNode>(
            LocalNode::Parts{runtime, io, memory.of(MemoryPurpose::kServe), table, store, committer,
                             lengths, owners, lives, receiver, executors})),
        sizer(io, table, store),
        gate(runtime, "engine") {}

  // On any thread; before start() the scan's finds wait in the table and are picked up there.
  void committed(const MapOutputRef& output) {
    if (!started.load()) return;
    asio::post(runtime.executor(), [this, output] {
      announcer->wake();
      pusher->submit({.output = output, .leaving = drain->on()});
    });
  }
  // On a thread of the mount. Ends at the latest when the reactor has given up what it does for it.
  void wait_until_told() {
    if (!started.load() || !options.tell_before_answering) return;
    const auto done = std::make_shared<Done>();
    // However its last holder ends, we go on.
    std::shared_ptr<void> held(nullptr, [done](void* /*nothing*/) { done->set(); });
    asio::post(runtime.executor(),
               [this, told = std::move(held)]() mutable { gate.spawn(tell_now(std::move(told))); });
    done->wait();
  }
  Task<void> tell_now(std::shared_ptr<void> /*told*/) {
    co_await announcer->tell_now(kTellTimeout);
  }
  void ended(const MapOutputRef& output) {
    if (!started.load()) return;
    asio::post(runtime.executor(), [this, output] {
      announcer->wake();
      gate.spawn(lives.ended(output));
    });
  }
  Task<void> release_idle_streams() {
    while (true) {
      co_await sleep_for(runtime, std::chrono::seconds(1));
      std::erase_if(streams, [](const auto& stream) { return stream.expired(); });
      for (const auto& open : streams) {
        if (const auto stream = open.lock()) stream->release_if_idle();
      }
    }
  }
  // Looks again for what could not be read, and writes what could not be written.
  Task<void> rescan() {
    while (true) {
      co_await sleep_for(runtime, std::chrono::seconds(5));
      std::set<NodeName> down;
      for (const PeerHealth& peer : cluster->health()) {
        if (!peer.up && !peer.self) down.insert(peer.name);
      }
      table.set_down(std::move(down));
      const bool found = co_await offload(runtime, [&] {
        committer.scan_unread();
        return table.look_for_lost();
      });
      if (found) announcer->wake();
      co_await offload(runtime, [&] {
        // What fails is logged, and tried again the next time.
        return table.flush() && table.forget_old();
      });
    }
  }

  Runtime& runtime;
  FileIo& io;
  MemoryBudget& memory;
  Metrics& metrics;
  const EngineOptions options;
  AppOwners owners;
  BlockLengths lengths;
  Trash trash;
  LogicalClock clock;
  TableLog log;
  ShuffleTable table;
  Disks disks;
  MergeStore store;
  DiskKeeper disk_keeper;
  Executors executors;
  Committer committer;
  ExecutorFinder executor_finder;
  SparkApps spark_apps;
  SparkReaper reaper;
  ShuffleLives lives;
  PushReceiver receiver;
  std::shared_ptr<LocalNode> node;
  PartitionSizer sizer;
  std::atomic<bool> started{false};
  // From start() on:
  Cluster* cluster = nullptr;
  std::unique_ptr<PlacementCache> placements;
  std::unique_ptr<Announcer> announcer;
  std::unique_ptr<Pusher> pusher;
  std::unique_ptr<Drain> drain;
  std::unique_ptr<Catalog> catalog;
  std::vector<std::weak_ptr<PartitionStream>> streams;  // reactor
  Gate gate;
};

Engine::Engine(Runtime& runtime, FileIo& io, MemoryBudget& memory, Metrics& metrics,
               EngineOptions options)
    : impl_(std::make_unique<Impl>(runtime, io, memory, metrics, std::move(options))) {}

Engine::~Engine() = default;

Status Engine::prepare_disk(std::size_t disk) {
  const std::string& data_dir = impl_->options.data_dirs[disk];
  if (!impl_->io.stat(local_root(disk))) {
    TRY(impl_->io.make_directories(local_root(disk)));
    TRY(impl_->io.set_mode(local_root(disk), kSharedDirectory));
  }
  TRY(impl_->io.make_directories(data_dir + "/maps"));
  return impl_->trash.add_disk(data_dir);
}

Status Engine::prepare() {
  for (std::size_t disk = 0; disk < disks(); ++disk) {
    const Status prepared = prepare_disk(disk);
    if (prepared) continue;
    // One sick disk of several is no reason not to start; the first one has our own files.
    if (disk == 0) return prepared;
    impl_->disks.fail(disk, prepared.error().message);
  }
  impl_->disks.refresh();
  TRY(impl_->clock.load(impl_->runtime.wall_clock()));
  TRY(impl_->table.load());
  TRY(impl_->store.load());
  for (const auto& [app, owner] : impl_->store.loaded_owners()) impl_->owners.heard(app, owner);
  for (const MapOutputRef& output : impl_->table.all())
    impl_->owners.heard(output->shuffle.app, output->owner);
  // Before the scan, which asks them for the application of what it finds.
  TRY(impl_->executors.load());
  impl_->committer.scan();
  return ok();
}

void Engine::start(Cluster& cluster) {
  Impl& impl = *impl_;
  impl.cluster = &cluster;
  impl.placements = std::make_unique<PlacementCache>(cluster);
  impl.catalog = std::make_unique<Catalog>(impl.runtime, cluster, impl.clock, *impl.placements,
                                           impl.options.stream.lost_patience);
  impl.announcer = std::make_unique<Announcer>(impl.runtime, impl.io, impl.metrics, cluster,
                                               impl.table, *impl.placements);
  impl.node->join(cluster);
  impl.lives.set_announcer(*impl.announcer);
  impl.pusher = std::make_unique<Pusher>(impl.runtime, impl.io,
                                         impl.memory.of(MemoryPurpose::kPush), impl.metrics,
                                         cluster, impl.table, *impl.placements, impl.options.push);
  impl.drain = std::make_unique<Drain>(Drain::Parts{
      impl.runtime, cluster, impl.table, impl.store, impl.owners, *impl.pusher, *impl.placements,
      impl.memory.of(MemoryPurpose::kPush), impl.metrics, impl.options.push});
  impl.metrics.gauge("shufflefs_announce_pending", "Announcements not yet delivered.",
                     [&impl] { return static_cast<double>(impl.announcer->pending()); });
  impl.metrics.gauge("shufflefs_maps_lost", "Lost map outputs of this node.",
                     [&impl] { return static_cast<double>(impl.table.lost_maps()); });
  cluster.on_new_incarnation([&impl](const NodeName& node) {
    impl.announcer->tell_all(node);
    impl.catalog->has_returned(node);
    impl.pusher->offer_again(node);
  });
  impl.gate.spawn(impl.trash.run());
  impl.gate.spawn(impl.disk_keeper.run());
  impl.gate.spawn(impl.release_idle_streams());
  impl.gate.spawn(impl.executor_finder.run());
  impl.gate.spawn(impl.reaper.run());
  impl.gate.spawn(impl.rescan());
  impl.started = true;
  // They were there when this life of the node began: ask before sending.
  for (const MapOutputRef& output : impl.table.all())
    impl.pusher->submit({.output = output, .known = true});
}

Task<void> Engine::stop() {
  if (impl_->drain) co_await impl_->drain->close();
  if (impl_->pusher) co_await impl_->pusher->close();
  if (impl_->announcer) co_await impl_->announcer->close();
  if (impl_->catalog) co_await impl_->catalog->close();
  co_await impl_->gate.close();
  if (impl_->node) co_await impl_->node->close();
  (void)co_await offload(impl_->runtime, [this]() -> Status {
    impl_->store.stop_holding();
    return ok();
  });
}

std::shared_ptr<NodeApi> Engine::local_node() { return impl_->node; }
SparkApps& Engine::spark_apps() { return impl_->spark_apps; }
CommitSink& Engine::commits() { return impl_->committer; }
Catalog& Engine::catalog() { return *impl_->catalog; }
AppOwners& Engine::owners() { return impl_->owners; }
void Engine::set_reporter(std::function<Task<Result<std::string>>(std::string)> reporter) {
  impl_->node->set_reporter(std::move(reporter));
}
Task<PartitionSizes> Engine::partition_sizes(PartitionSizesQuestion question) {
  co_return co_await offload(impl_->runtime, [&] { return impl_->sizer.sizes(question); });
}
const NodeName& Engine::self() const { return impl_->options.self; }
std::shared_ptr<const Placement> Engine::placement(const ShuffleKey& shuffle,
                                                   uint32_t partition_count) {
  return impl_->placements->get(shuffle, partition_count);
}
Runtime& Engine::runtime() { return impl_->runtime; }
std::size_t Engine::disks() const { return impl_->options.data_dirs.size(); }
std::string Engine::local_root(std::size_t disk) const {
  return impl_->options.data_dirs.at(disk) + "/local";
}

std::vector<ShuffleKey> Engine::known_shuffles() const { return impl_->lives.known(); }

std::vector<ShuffleKey> Engine::local_shuffles() const {
  const std::vector<ShuffleKey> known = known_shuffles();
  std::set<ShuffleKey> keys(known.begin(), known.end());
  for (ShuffleKey& key : impl_->committer.generic_shuffles()) keys.insert(std::move(key));
  return {keys.begin(), keys.end()};
}

std::vector<MapOutputRef> Engine::local_maps(const ShuffleKey& shuffle) const {
  std::vector<MapOutputRef> outputs = impl_->table.of(shuffle);
  // Generic ones are seen in their own directory.
  std::erase_if(outputs, [&](const MapOutputRef& output) {
    return std::any_of(
        impl_->options.data_dirs.begin(), impl_->options.data_dirs.end(),
        [&](const std::string& dir) { return output->data_path.starts_with(dir + "/maps/"); });
  });
  return outputs;
}

std::optional<Fd> Engine::seal_for_passthrough(const ShuffleKey& shuffle, PartitionId partition,
                                               uint64_t bytes) {
  const auto merged = impl_->store.find(shuffle, partition);
  if (!merged) return std::nullopt;
  return (*merged)->seal_for_passthrough(bytes);
}

std::shared_ptr<PartitionStream> Engine::open_stream(PartitionPlan plan) {
  auto stream = std::make_shared<PartitionStream>(
      impl_->runtime, *impl_->cluster, impl_->memory.of(MemoryPurpose::kRead),
      impl_->memory.of(MemoryPurpose::kAnswer), impl_->metrics, impl_->options.stream,
      std::move(plan));
  impl_->streams.push_back(stream);
  return stream;
}

void Engine::drain(bool on) {
  impl_->receiver.set_draining(on);
  impl_->announcer->set_leaving(on);
  if (on)
    impl_->drain->begin();
  else
    impl_->drain->end();
}

DrainStatus Engine::drain_status() const {
  const bool has_to_tell = impl_->drain->on() && !impl_->announcer->is_all_told();
  return impl_->drain->status(impl_->committer.looks_under_way() + (has_to_tell ? 1 : 0));
}

std::vector<DiskStatus> Engine::disk_status() const { return impl_->disks.status(); }

std::vector<PushOwnerStatus> Engine::push_owners() const {
  return impl_->pusher ? impl_->pusher->owners() : std::vector<PushOwnerStatus>{};
}

uint32_t Engine::known_partition_count(const ShuffleKey& shuffle) const {
  return impl_->table.partition_count(shuffle);
}

}  // namespace shufflefs::merge
