#include "sim/schedule.h"

#include <algorithm>

namespace shufflefs::sim {

Schedule::Schedule(uint64_t seed) : random_(seed) {}

Schedule::Ticket Schedule::after(Duration delay, Action action) {
  // The low half makes it unique, the high half shuffles what happens at the same moment.
  const Ticket ticket{now_ + std::max(delay, Duration(0)),
                      (random_.next() << 32U) | (next_order_++ & 0xFFFFFFFFU)};
  events_.emplace(ticket, std::move(action));
  return ticket;
}

bool Schedule::step() {
  ++steps_;
  if (!ready_.empty()) {
    const std::size_t chosen = ready_.size() == 1 ? 0 : random_.below(ready_.size());
    Reactor* reactor = ready_[chosen];
    if (!reactor->run_one()) std::erase(ready_, reactor);
    return true;
  }
  if (events_.empty()) return false;
  const auto first = events_.begin();
  now_ = first->first.when;
  Action action = std::move(first->second);
  events_.erase(first);
  action.run();
  return true;
}

}  // namespace shufflefs::sim
