// One life of one simulated node's Runtime: its reactor, timers and disk threads, on the schedule
// of the simulation. kill() ends it as SIGKILL does: nothing of it runs any more, and whatever
// waited is destroyed where it stands.
//
// Difference to production: a piece of disk work runs in one step after a random delay, so that
// pieces of one node are ordered at random but do not overlap. Ownership: kept until the end of the
// simulation, as executors in late messages point here.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/runtime.h"
#include "sim/schedule.h"

namespace shufflefs::sim {

class SimRuntime final : public Runtime, public Reactor {
 public:
  struct Options {
    uint64_t seed = 0;
    Duration clock_skew{};  // of the wall clock
    // How long a piece of disk work takes to come to its turn.
    std::function<Duration()> disk_delay;
  };
  SimRuntime(Schedule& schedule, Options options);
  ~SimRuntime() override;
  SimRuntime(const SimRuntime&) = delete;
  SimRuntime& operator=(const SimRuntime&) = delete;

  asio::any_io_executor executor() override;
  [[nodiscard]] TimePoint now() const override { return schedule_.now(); }
  [[nodiscard]] WallTime wall_clock() const override;
  std::unique_ptr<Timer> make_timer() override;
  uint64_t random() override { return random_.next(); }
  void post_blocking(std::function<void()> work) override;

  bool run_one() override;
  void kill();
  [[nodiscard]] bool alive() const { return alive_; }
  [[nodiscard]] bool is_running() const { return running_; }  // this reactor's work, right now
  [[nodiscard]] asio::execution_context& context() { return context_; }

  // For executor and timers: to the end of the ready work. Destroyed unrun if the node is dead.
  void post(Action action);

 private:
  friend class SimTimer;

  Schedule& schedule_;
  Options options_;
  Random random_;
  bool alive_ = true;
  bool running_ = false;
  asio::execution_context context_;
  std::deque<Action> ready_;
  uint64_t next_id_ = 0;
  struct DiskWork {
    Schedule::Ticket ticket;
    std::function<void()> work;
  };
  std::map<uint64_t, DiskWork> disk_work_;
  std::map<uint64_t, class SimTimer*> waiting_;  // timers with a coroutine in them
};

}  // namespace shufflefs::sim
