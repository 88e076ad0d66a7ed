// Something that has happened, or not yet, for coroutines to wait for.
//
//   event.reset();                         // "there is news": reset, look, wait
//   if (!has_work()) co_await event.wait_for(kIdle);
//
// Threads: reactor. Ownership: who waits may outlive it. Cost: a timer for each wait.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "base/runtime.h"

namespace shufflefs {

class Event {
 public:
  explicit Event(Runtime& runtime) : runtime_(runtime), state_(std::make_shared<State>()) {}

  // Wakes everybody who waits. Nobody waits from now on, until reset().
  void set() {
    state_->is_set = true;
    // Who is woken may end here and now, and with it others who wait, or this event.
    std::vector<std::shared_ptr<Timer>> timers;
    for (Waiter& waiter : state_->waiters) {
      waiter.is_woken = true;
      timers.push_back(waiter.timer);
    }
    for (const auto& timer : timers) timer->wake();
  }
  void reset() { state_->is_set = false; }
  [[nodiscard]] bool is_set() const { return state_->is_set; }

  // Until it is set, or the coroutine is cancelled.
  [[nodiscard]] Task<void> wait() { return wait_on(state_, runtime_.make_timer()); }
  // False if it was not set in time.
  [[nodiscard]] Task<bool> wait_for(Duration timeout) {
    return wait_on(state_, runtime_.make_timer(), timeout);
  }

 private:
  struct Waiter {
    std::shared_ptr<Timer> timer;
    bool is_woken = false;
  };
  struct State {
    bool is_set = false;
    std::list<Waiter> waiters;
  };
  // A place among the waiters, given up however the wait ends.
  struct Place {
    Place(std::shared_ptr<State> of_state, std::unique_ptr<Timer> timer)
        : state(std::move(of_state)),
          waiter(state->waiters.insert(state->waiters.end(), Waiter{std::move(timer)})) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { state->waiters.erase(waiter); }
    const std::shared_ptr<State> state;
    const std::list<Waiter>::iterator waiter;
  };

  static Task<void> wait_on(std::shared_ptr<State> state, std::unique_ptr<Timer> timer) {
    if (state->is_set) co_return;
    const Place place(std::move(state), std::move(timer));
    // Cancelled, it does not come back here a second time.
    while (!place.waiter->is_woken) co_await place.waiter->timer->wait_for(std::chrono::hours(24));
  }
  static Task<bool> wait_on(std::shared_ptr<State> state, std::unique_ptr<Timer> timer,
                            Duration timeout) {
    if (state->is_set) co_return true;
    const Place place(std::move(state), std::move(timer));
    co_await place.waiter->timer->wait_for(timeout);
    co_return place.waiter->is_woken;
  }

  Runtime& runtime_;
  std::shared_ptr<State> state_;
};

}  // namespace shufflefs
