#include "base/semaphore.h"

#include <deque>

#include "base/mutex.h"

namespace shufflefs {

struct Semaphore::State {
  struct Waiter {
    uint64_t count = 0;
    std::unique_ptr<Timer> timer;
    bool is_granted = false;  // guarded by mu
  };

  State(asio::any_io_executor reactor_executor, uint64_t all)
      : reactor(std::move(reactor_executor)), total(all) {}

  void wake(const std::shared_ptr<Waiter>& waiter) const {
    asio::post(reactor, [waiter] { waiter->timer->wake(); });
  }
  void grant_in_order() REQUIRES(mu) {
    while (!line.empty() && used + line.front()->count <= total) {
      const std::shared_ptr<Waiter> waiter = line.front();
      line.pop_front();
      used += waiter->count;
      waiter->is_granted = true;
      wake(waiter);
    }
  }
  void give_back(uint64_t count) EXCLUDES(mu) {
    const MutexLock lock(mu);
    used -= count;
    grant_in_order();
  }

  const asio::any_io_executor reactor;
  const uint64_t total;
  Mutex mu;
  uint64_t used GUARDED_BY(mu) = 0;
  bool closed GUARDED_BY(mu) = false;
  std::deque<std::shared_ptr<Waiter>> line GUARDED_BY(mu);
};

void Semaphore::Permit::give_back() {
  if (const auto state = std::exchange(state_, nullptr)) state->give_back(std::exchange(count_, 0));
}

Semaphore::Permit& Semaphore::Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    give_back();
    state_ = std::move(other.state_);
    count_ = std::exchange(other.count_, 0);
  }
  return *this;
}

Semaphore::Semaphore(Runtime& runtime, uint64_t total)
    : runtime_(runtime), state_(std::make_shared<State>(runtime.executor(), total)) {}

Semaphore::~Semaphore() = default;

Task<std::optional<Semaphore::Permit>> Semaphore::acquire(uint64_t count, Duration timeout) {
  return acquire_from(state_, runtime_, count, timeout);
}

Task<std::optional<Semaphore::Permit>> Semaphore::acquire_from(std::shared_ptr<State> state,
                                                               Runtime& runtime, uint64_t count,
                                                               Duration timeout) {
  std::shared_ptr<State::Waiter> waiter;
  {
    const MutexLock lock(state->mu);
    if (state->closed) co_return std::nullopt;
    if (state->line.empty() && state->used + count <= state->total) {
      state->used += count;
      co_return Permit(state, count);
    }
    waiter = std::make_shared<State::Waiter>();
    waiter->count = count;
    waiter->timer = runtime.make_timer();
    state->line.push_back(waiter);
  }
  // However the wait ends, also by cancellation: the place in line is given up, and what was
  // granted becomes a permit, which gives itself back.
  struct Place {
    Place(std::shared_ptr<State> of_state, std::shared_ptr<State::Waiter> of_waiter)
        : state(std::move(of_state)), waiter(std::move(of_waiter)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { (void)leave(); }
    [[nodiscard]] std::optional<Permit> leave() {
      const MutexLock lock(state->mu);
      if (std::exchange(waiter->is_granted, false)) return Permit(state, waiter->count);
      if (std::erase(state->line, waiter) > 0) state->grant_in_order();
      return std::nullopt;
    }
    const std::shared_ptr<State> state;
    const std::shared_ptr<State::Waiter> waiter;
  } place(std::move(state), waiter);
  co_await waiter->timer->wait_for(timeout);
  co_return place.leave();
}

void Semaphore::close() {
  const MutexLock lock(state_->mu);
  state_->closed = true;
  for (const auto& waiter : state_->line) state_->wake(waiter);
  state_->line.clear();
}

uint64_t Semaphore::total() const { return state_->total; }

uint64_t Semaphore::used() const {
  const MutexLock lock(state_->mu);
  return state_->used;
}

}  // namespace shufflefs
