#include "sim/sim_runtime.h"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>

#include "base/check.h"

namespace shufflefs::sim {
namespace {

// What Asio asks of an executor. As an io_context's: dispatch() from inside the reactor runs at
// once (co_spawn relies on it), everything else waits its turn.
class SimExecutor {
 public:
  explicit SimExecutor(SimRuntime& runtime, bool may_run_at_once = true)
      : runtime_(&runtime), may_run_at_once_(may_run_at_once) {}
  [[nodiscard]] asio::execution_context& query(asio::execution::context_t /*property*/) const {
    return runtime_->context();
  }
  [[nodiscard]] asio::execution::blocking_t query(asio::execution::blocking_t /*property*/) const {
    return may_run_at_once_ ? asio::execution::blocking_t(asio::execution::blocking.possibly)
                            : asio::execution::blocking_t(asio::execution::blocking.never);
  }
  [[nodiscard]] SimExecutor require(asio::execution::blocking_t::possibly_t /*property*/) const {
    return SimExecutor(*runtime_, true);
  }
  [[nodiscard]] SimExecutor require(asio::execution::blocking_t::never_t /*property*/) const {
    return SimExecutor(*runtime_, false);
  }
  template <class F>
  void execute(F&& function) const {
    if (may_run_at_once_ && runtime_->is_running())
      std::decay_t<F>(std::forward<F>(function))();
    else
      runtime_->post(Action(std::decay_t<F>(std::forward<F>(function))));
  }
  friend bool operator==(const SimExecutor&, const SimExecutor&) = default;

 private:
  SimRuntime* runtime_;
  bool may_run_at_once_;
};

}  // namespace

class SimTimer final : public Timer {
 public:
  explicit SimTimer(SimRuntime& runtime) : runtime_(runtime), id_(runtime.next_id_++) {}
  ~SimTimer() override { wake(); }
  SimTimer(const SimTimer&) = delete;
  SimTimer& operator=(const SimTimer&) = delete;

  Task<bool> wait_for(Duration duration) override {
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(bool)>(
        [this, duration](auto handler) { start(duration, std::move(handler)); },
        asio::use_awaitable);
  }
  void wake() override {
    if (!handler_) return;
    runtime_.schedule_.cancel(ticket_);
    end(false);
  }
  // The coroutine inside, to be destroyed.
  asio::any_completion_handler<void(bool)> take() {
    runtime_.schedule_.cancel(ticket_);
    return std::exchange(handler_, nullptr);
  }

 private:
  void start(Duration duration, asio::any_completion_handler<void(bool)> handler) {
    if (!runtime_.alive()) return;
    handler_ = std::move(handler);
    const auto slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) {
      asio::cancellation_slot(slot).assign([this](asio::cancellation_type /*kind*/) { wake(); });
    }
    ticket_ = runtime_.schedule_.after(duration, Action([this] { end(true); }));
    runtime_.waiting_.emplace(id_, this);
  }
  void end(bool passed) {
    runtime_.waiting_.erase(id_);
    asio::cancellation_slot slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) slot.clear();
    runtime_.post(Action([handler = std::exchange(handler_, nullptr), passed]() mutable {
      std::move(handler)(passed);
    }));
  }

  SimRuntime& runtime_;
  const uint64_t id_;
  Schedule::Ticket ticket_;
  asio::any_completion_handler<void(bool)> handler_;
};

SimRuntime::SimRuntime(Schedule& schedule, Options options)
    : schedule_(schedule), options_(std::move(options)), random_(options_.seed) {}

SimRuntime::~SimRuntime() { kill(); }

asio::any_io_executor SimRuntime::executor() { return SimExecutor(*this); }

WallTime SimRuntime::wall_clock() const {
  // 2026-01-01 and then the virtual time.
  constexpr WallTime kBegin{std::chrono::seconds(1767225600)};
  return kBegin + std::chrono::duration_cast<WallTime::duration>(schedule_.elapsed() +
                                                                 options_.clock_skew());
}

std::unique_ptr<Timer> SimRuntime::make_timer() { return std::make_unique<SimTimer>(*this); }

void SimRuntime::post(Action action) {
  if (!alive_ && begun_.empty()) return;
  if (alive_ && ready_.empty()) schedule_.ready(*this);
  ready_.push_back(std::move(action));  // of a dead node only to be destroyed
}

bool SimRuntime::run_one() {
  Action action = std::move(ready_.front());
  // It stays in the queue while it runs, so that what it posts does not announce us a second time.
  running_ = true;
  Fiber::set_reactor_runs(true);
  {
    const ReactorMark mark;
    action.run();
  }
  Fiber::set_reactor_runs(false);
  running_ = false;
  if (!alive_) return false;
  ready_.pop_front();
  return !ready_.empty();
}

void SimRuntime::post_blocking(std::function<void()> work) {
  if (!alive_) return;
  const uint64_t id = next_id_++;
  std::unique_ptr<Fiber> fiber = make_fiber(id, std::move(work));
  const Schedule::Ticket ticket = schedule_.after(options_.disk_delay(), Action([this, id] {
                                                    auto node = to_begin_.extract(id);
                                                    begin(id, std::move(node.mapped().fiber));
                                                  }));
  to_begin_.emplace(id, DiskWork{ticket, std::move(fiber)});
}

void SimRuntime::start_blocking(std::function<void()> work) {
  if (!alive_) return;
  const uint64_t id = next_id_++;
  begin(id, make_fiber(id, std::move(work)));
}

std::unique_ptr<Fiber> SimRuntime::make_fiber(uint64_t id, std::function<void()> work) {
  return std::make_unique<Fiber>(schedule_, std::move(work), [this, id] {
    auto node = begun_.extract(id);
    if (!alive_) ended_.push_back(std::move(node.mapped()));
  });
}

void SimRuntime::begin(uint64_t id, std::unique_ptr<Fiber> fiber) {
  Fiber& begun = *begun_.emplace(id, std::move(fiber)).first->second;
  begun.resume();
}

void SimRuntime::finish_what_has_begun(int rounds) {
  for (int round = 0; !begun_.empty() && round < rounds; ++round) {
    for (auto it = begun_.begin(); it != begun_.end();) {
      Fiber& fiber = *(it++)->second;
      fiber.hurry();
      fiber.resume();
    }
  }
}

void SimRuntime::kill() {
  alive_ = false;
  schedule_.forget(*this);
  // All but those that wait for a coroutine; they end when it is destroyed.
  finish_what_has_begun(1000);
  ended_.clear();
  // A coroutine that is destroyed destroys what it owns: timers, and maybe more coroutines.
  while (!ready_.empty() || !to_begin_.empty() || !waiting_.empty()) {
    while (!ready_.empty()) {
      const Action dropped = std::move(ready_.front());
      ready_.pop_front();
    }
    while (!to_begin_.empty()) {
      const auto dropped = to_begin_.extract(to_begin_.begin());
      schedule_.cancel(dropped.mapped().begins);
    }
    while (!waiting_.empty()) {
      SimTimer* timer = waiting_.begin()->second;
      waiting_.erase(waiting_.begin());
      const auto dropped = timer->take();
    }
  }
  finish_what_has_begun(100'000);
  if (!begun_.empty()) std::abort();  // locks are taken in both orders
  ended_.clear();
}

}  // namespace shufflefs::sim
