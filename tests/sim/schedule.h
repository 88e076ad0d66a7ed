// The virtual clock and everything that is still to happen: the one thread of a simulation. Time
// stands still while a reactor has work and jumps to the next event when none has.
//
// Order: the work of one reactor in the order of its posting, as on an io_context; which reactor
// comes next, and the order of events of the same moment, are drawn from the seed. Ownership: the
// reactors outlive the schedule's steps.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "base/runtime.h"
#include "sim/action.h"
#include "sim/random.h"

namespace shufflefs::sim {

// Something with a queue of ready work.
class Reactor {
 public:
  virtual ~Reactor() = default;
  // Runs the first of what is ready. True if there is more.
  virtual bool run_one() = 0;
};

class Schedule {
 public:
  explicit Schedule(uint64_t seed);

  [[nodiscard]] TimePoint now() const { return now_; }
  // Since the beginning of the simulation.
  [[nodiscard]] Duration elapsed() const { return now_ - kStart; }

  struct Ticket {
    TimePoint when;
    uint64_t order = 0;
    friend auto operator<=>(const Ticket&, const Ticket&) = default;
  };
  Ticket after(Duration delay, Action action);
  void cancel(const Ticket& ticket) { events_.erase(ticket); }

  // The reactor has got its first ready work; it is asked until it has none.
  void ready(Reactor& reactor) { ready_.push_back(&reactor); }
  void forget(Reactor& reactor) { std::erase(ready_, &reactor); }

  // Runs one piece of work. False if nothing is left to happen.
  bool step();
  [[nodiscard]] uint64_t steps() const { return steps_; }

 private:
  // Far from zero, so that a subtraction is never below it.
  static constexpr TimePoint kStart{std::chrono::hours(1000)};

  TimePoint now_ = kStart;
  Random random_;
  uint64_t next_order_ = 0;
  uint64_t steps_ = 0;
  std::map<Ticket, Action> events_;
  std::vector<Reactor*> ready_;
};

}  // namespace shufflefs::sim
