// One simulated node: its disks, which last, and one life after the other of a real merge::Engine
// on them. A life ends by stop(), as on SIGTERM, or by crash(), as on SIGKILL: then no further line
// of its code runs, and its coroutines are destroyed where they wait.
#pragma once

#include <deque>
#include <set>

#include "base/gate.h"
#include "merge/engine.h"
#include "sim/network.h"
#include "sim/sim_cluster.h"
#include "sim/sim_disk.h"
#include "sim/sim_peer.h"

namespace shufflefs::sim {

class SimNode final : public Endpoint {
 public:
  struct Config {
    std::size_t index = 0;
    merge::EngineOptions engine;  // with self and data_dirs
    uint64_t memory = 0;
    bool late_events = false;
  };
  struct Hooks {
    SimDisk::Hooks disk;
    SimCluster::Probe probe;
    std::function<Duration()> disk_delay;
    std::function<Duration()> clock_skew;
    // The node `to` has acknowledged the announcement.
    std::function<void(std::size_t to, const merge::AnnounceRequest&)> announced;
    // A life has ended before it was told that these files were removed.
    std::function<void(const std::set<std::string>&)> removals_untold;
  };
  SimNode(Schedule& schedule, Network& network, uint64_t seed, Config config, Hooks hooks);
  ~SimNode() override;
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  // What happened on the node in all its lives.
  struct Counts {
    uint64_t evictions = 0;   // of a shuffle from a disk
    uint64_t busy = 0;        // owners that had no memory for a push
    uint64_t duplicates = 0;  // blocks that an owner had already
  };
  [[nodiscard]] Counts counts() const;

  struct Member {
    merge::NodeName name;
    std::size_t index = 0;
  };
  // A new life. False if it could not start (its disks do not let it): it is as if it had crashed.
  bool start(const std::vector<Member>& members);
  void crash();
  // Begins to end the life in good order; it is over when lives() turns false.
  void begin_stop();
  // After each step: ends a life that has stopped.
  void bury_if_stopped();
  void learn_members(const std::vector<Member>& members);

  [[nodiscard]] bool lives() const { return life_ != nullptr; }
  // Lives and is not on its way out.
  [[nodiscard]] bool works() const { return life_ != nullptr && !life_->stopping; }
  [[nodiscard]] uint64_t incarnation() const { return incarnation_; }
  [[nodiscard]] std::size_t index() const { return config_.index; }
  [[nodiscard]] const merge::NodeName& name() const override { return config_.engine.self; }
  [[nodiscard]] const std::vector<std::string>& data_dirs() const {
    return config_.engine.data_dirs;
  }
  // Those that the node does not hold for failed.
  [[nodiscard]] std::vector<std::string> sound_dirs() const;
  [[nodiscard]] SimDisk& disk() { return disk_; }

  // ---- REQUIRES: lives() -------------------------------------------------------------------------
  [[nodiscard]] merge::Engine& engine() { return *life_->engine; }
  [[nodiscard]] SimCluster& cluster() { return *life_->cluster; }
  [[nodiscard]] SimRuntime& runtime() { return *life_->runtime; }
  [[nodiscard]] MemoryBudget& memory() { return *life_->memory; }
  [[nodiscard]] Metrics& metrics() { return life_->metrics; }
  // Something has happened to one of Spark's files. It is told at once, as a mount does that sees
  // it; or a moment later, and sometimes only that something was lost, as the kernel's events do.
  void spark_file_changed(const std::string& path, bool removed);
  // For what the simulation does on the node: it dies with it.
  void spawn(Task<void> task) { life_->gate->spawn(std::move(task)); }

  [[nodiscard]] bool listening() const override { return works() && !disk_.frozen(); }
  void serve(merge::NodeName caller, WireFrame request, Answer answer) override;

 private:
  // In the order of construction.
  struct Life {
    SimRuntime* runtime = nullptr;
    Metrics metrics;
    std::unique_ptr<MemoryBudget> memory;
    std::unique_ptr<SimCluster> cluster;
    std::unique_ptr<merge::Engine> engine;
    std::unique_ptr<Gate> gate;  // requests being answered, and what the simulation does
    bool stopping = false;
    bool stopped = false;
    // What is to be told of Spark's files, the oldest first.
    std::deque<std::pair<std::string, bool>> untold;  // path, removed
    uint64_t drops = 0;                               // heard of when there was nothing
    bool events_lost = false;
    bool telling = false;
  };
  Task<void> tell_later();
  void tell_now();
  void add_members(const std::vector<Member>& members);
  Task<void> answer_one(merge::NodeName caller, WireFrame request, Answer answer);
  Task<void> stop_life();

  Schedule& schedule_;
  Network& network_;
  Random random_;
  const Config config_;
  const Hooks hooks_;
  SimDisk disk_;
  std::vector<std::unique_ptr<SimRuntime>> runtimes_;  // of all lives
  std::unique_ptr<Life> life_;
  Counts past_;  // of the lives that are over
  uint64_t incarnation_ = 0;
};

}  // namespace shufflefs::sim
