#include "base/byte_budget.h"

#include <fmt/format.h>

#include "base/mutex.h"
#include "base/parse.h"

namespace shufflefs {

struct ByteBudget::Lease::State {
  struct Waiter {
    uint64_t bytes = 0;
    bool granted = false;
    std::unique_ptr<Timer> timer;
  };

  explicit State(asio::any_io_executor reactor_executor, uint64_t total_bytes)
      : reactor(std::move(reactor_executor)), total(total_bytes) {}

  // In order: a large request at the front is not overtaken for ever by small ones.
  void grant_in_order() REQUIRES(mu) {
    while (!waiters.empty() && used + waiters.front()->bytes <= total) {
      const std::shared_ptr<Waiter> waiter = waiters.front();
      waiters.pop_front();
      used += waiter->bytes;
      waiter->granted = true;
      asio::post(reactor, [waiter] { waiter->timer->wake(); });
    }
  }

  const asio::any_io_executor reactor;
  const uint64_t total;
  Mutex mu;
  uint64_t used GUARDED_BY(mu) = 0;
  std::deque<std::shared_ptr<Waiter>> waiters GUARDED_BY(mu);
};

void ByteBudget::Lease::give_back() {
  if (!state_) return;
  {
    const MutexLock lock(state_->mu);
    state_->used -= bytes_;
    state_->grant_in_order();
  }
  state_.reset();
  bytes_ = 0;
}

ByteBudget::Lease& ByteBudget::Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    give_back();
    state_ = std::move(other.state_);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

ByteBudget::ByteBudget(Runtime& runtime, uint64_t total_bytes)
    : runtime_(runtime), state_(std::make_shared<Lease::State>(runtime.executor(), total_bytes)) {}

ByteBudget::~ByteBudget() = default;

Task<Result<ByteBudget::Lease>> ByteBudget::acquire(uint64_t bytes, Duration patience) {
  // The waiter is settled by RAII, so that a cancelled coroutine neither keeps its place nor leaks
  // what it was granted.
  struct Turn {
    Turn(std::shared_ptr<Lease::State> its_state, std::shared_ptr<Lease::State::Waiter> its_waiter)
        : state(std::move(its_state)), waiter(std::move(its_waiter)) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    std::shared_ptr<Lease::State> state;
    std::shared_ptr<Lease::State::Waiter> waiter;
    Lease take() {
      const MutexLock lock(state->mu);
      if (!waiter->granted) return {};
      waiter->granted = false;
      return {state, waiter->bytes};
    }
    ~Turn() {
      const MutexLock lock(state->mu);
      if (waiter->granted) state->used -= waiter->bytes;
      std::erase(state->waiters, waiter);
      state->grant_in_order();
    }
  };

  const std::shared_ptr<Lease::State> state = state_;
  if (bytes > state->total) {
    co_return make_error(
        Code::kTooLarge,
        fmt::format("a buffer of {} can never fit the memory budget of {}: raise --memory",
                    format_bytes(bytes), format_bytes(state->total)));
  }
  Turn turn(state, std::make_shared<Lease::State::Waiter>());
  turn.waiter->bytes = bytes;
  turn.waiter->timer = runtime_.make_timer();
  {
    const MutexLock lock(state->mu);
    if (state->waiters.empty() && state->used + bytes <= state->total) {
      state->used += bytes;
      co_return Lease{state, bytes};
    }
    state->waiters.push_back(turn.waiter);
  }
  co_await turn.waiter->timer->wait_for(patience);
  if (Lease lease = turn.take(); lease.bytes() > 0 || bytes == 0) co_return lease;
  co_return make_error(Code::kNoMemory, fmt::format("the memory budget had no room for {} in time",
                                                    format_bytes(bytes)));
}

uint64_t ByteBudget::total_bytes() const { return state_->total; }

uint64_t ByteBudget::used_bytes() const {
  const MutexLock lock(state_->mu);
  return state_->used;
}

}  // namespace shufflefs
