// One life of one simulated node's Runtime: its reactor, timers and disk threads, on the schedule
// of the simulation. kill() ends it as SIGKILL does: nothing of it runs any more, and whatever
// waited is destroyed where it stands.
//
// Disk work is a fiber each: it begins after a random delay, and where it touches a disk others may
// go on. What has begun when the node is killed runs to its end with a disk that does nothing any
// more: its stack cannot be taken down from outside. Ownership: kept until the end of the
// simulation, as executors in late messages point here.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/runtime.h"
#include "sim/fiber.h"

namespace shufflefs::sim {

class SimRuntime final : public Runtime, public Reactor {
 public:
  struct Options {
    uint64_t seed = 0;
    std::function<Duration()> clock_skew;  // of the wall clock
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
  // The same, beginning now: a call that comes in by the mount.
  void start_blocking(std::function<void()> work);

  bool run_one() override;
  void kill();
  [[nodiscard]] bool alive() const { return alive_; }
  [[nodiscard]] bool is_running() const {  // this reactor's work, right now
    return running_ && Fiber::current() == nullptr;
  }
  [[nodiscard]] asio::execution_context& context() { return context_; }

  // For executor and timers: to the end of the ready work. Destroyed unrun if the node is dead.
  void post(Action action);

 private:
  friend class SimTimer;
  [[nodiscard]] std::unique_ptr<Fiber> make_fiber(uint64_t id, std::function<void()> work);
  void begin(uint64_t id, std::unique_ptr<Fiber> fiber);
  void finish_what_has_begun(int rounds);

  Schedule& schedule_;
  Options options_;
  Random random_;
  bool alive_ = true;
  bool running_ = false;
  asio::execution_context context_;
  std::deque<Action> ready_;
  uint64_t next_id_ = 0;
  struct DiskWork {
    Schedule::Ticket begins;
    std::unique_ptr<Fiber> fiber;
  };
  std::map<uint64_t, DiskWork> to_begin_;
  std::map<uint64_t, std::unique_ptr<Fiber>> begun_;
  // Of a node that is being killed: kept until nothing runs any more that may refer to it.
  std::vector<std::unique_ptr<Fiber>> ended_;
  std::map<uint64_t, class SimTimer*> waiting_;  // timers with a coroutine in them
};

}  // namespace shufflefs::sim
