#include "base/gate.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

#include "base/check.h"
#include "base/log.h"

namespace shufflefs {

Gate::Gate(Runtime& runtime, std::string name)
    : runtime_(runtime), state_(std::make_shared<State>(std::move(name), Event(runtime))) {}

Gate::~Gate() {
  state_->closed = true;
  DCHECK(state_->inside.empty());  // they refer to what goes now: close() comes first
}

void Gate::spawn(Task<void> task) {
  // Posted, so that a spawn from another thread is safe and a long task does not run inside its
  // spawner.
  asio::post(runtime_.executor(), [executor = runtime_.executor(), state = state_,
                                   task = std::move(task), owner = owner_.lock()]() mutable {
    start(executor, state, std::move(task), std::move(owner));
  });
}

void Gate::start(asio::any_io_executor executor, const std::shared_ptr<State>& state,
                 Task<void> task, std::shared_ptr<void> owner) {
  if (state->closed) return;
  const auto place = state->inside.emplace(state->inside.end());
  // However the task ends: it may also be destroyed where it waits, with its runtime.
  std::shared_ptr<void> left(nullptr, [state, place, owner = std::move(owner)](void* /*nothing*/) {
    state->inside.erase(place);
    if (state->closed && state->inside.empty()) state->all_left.set();
  });
  auto done = [state, left = std::move(left)](const std::exception_ptr& failure) mutable {
    left.reset();
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) return;
      log_error("internal.exception", {{"gate", state->name}, {"what", error.what()}});
    } catch (const std::exception& error) {
      log_error("internal.exception", {{"gate", state->name}, {"what", error.what()}});
    }
  };
  asio::co_spawn(executor, std::move(task),
                 asio::bind_cancellation_slot(place->slot(), std::move(done)));
}

Task<void> Gate::close() {
  state_->closed = true;
  // Cancelling may complete a task, which erases its place: step first, then emit.
  for (auto it = state_->inside.begin(); it != state_->inside.end();)
    (it++)->emit(asio::cancellation_type::terminal);
  if (!state_->inside.empty()) co_await state_->all_left.wait();
}

}  // namespace shufflefs
