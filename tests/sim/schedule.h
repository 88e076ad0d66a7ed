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
#include <memory>
#include <utility>
#include <vector>

#include "base/runtime.h"

namespace shufflefs::sim {

// A small seeded generator: the same numbers on every machine and standard library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // A generator of its own for each purpose: what one part draws does not move the others.
  [[nodiscard]] Random fork() { return Random(next()); }

  uint64_t next() {  // splitmix64
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31U);
  }
  // 0 .. bound - 1. REQUIRES: bound > 0.
  uint64_t below(uint64_t bound) { return next() % bound; }
  uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
  bool chance(double probability) {
    return static_cast<double>(next() >> 11U) * 0x1.0p-53 < probability;
  }

 private:
  uint64_t state_;
};

// A function that is called at most once and may own what cannot be copied.
class Action {
 public:
  Action() = default;
  template <class F>
  explicit Action(F function) : held_(std::make_unique<Held<F>>(std::move(function))) {}

  explicit operator bool() const { return held_ != nullptr; }
  // Empties it first: what the function owns may lead back here.
  void run() { std::exchange(held_, nullptr)->run(); }

 private:
  struct Base {
    Base() = default;
    Base(const Base&) = delete;
    Base& operator=(const Base&) = delete;
    virtual ~Base() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct Held final : Base {
    explicit Held(F function_in) : function(std::move(function_in)) {}
    void run() override { std::move(function)(); }
    F function;
  };
  std::unique_ptr<Base> held_;
};

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
