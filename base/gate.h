// The owner of coroutines: every spawn belongs to a gate, and closing the gate cancels what is
// inside and waits until it has left. So no coroutine outlives what it refers to. (The idea is
// Seastar's gate; cancellation is Asio's.)
//
// Threads: spawn() from any thread; close() and the destructor on the reactor. Failure: an
// exception that leaves a task is logged (internal.exception), cancellation is not. A task spawned
// after close() is dropped unrun.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "base/event.h"

namespace shufflefs {

class Gate {
 public:
  // `name` appears in the log when a task of this gate fails.
  Gate(Runtime& runtime, std::string name);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // For a gate whose tasks may be the last that need what it is a part of: from now on each task
  // keeps `owner` until it has left.
  void set_owner(std::weak_ptr<void> owner) { owner_ = std::move(owner); }
  void spawn(Task<void> task);
  // Cancels everything inside and returns when all of it has ended. Idempotent.
  [[nodiscard]] Task<void> close();
  [[nodiscard]] std::size_t inside() const { return state_->inside.size(); }

 private:
  struct State {
    std::string name;
    Event all_left;
    bool closed = false;
    std::list<asio::cancellation_signal> inside;
  };

  static void start(asio::any_io_executor executor, const std::shared_ptr<State>& state,
                    Task<void> task, std::shared_ptr<void> owner);

  Runtime& runtime_;
  std::shared_ptr<State> state_;  // reactor thread only; shared with posted starts
  std::weak_ptr<void> owner_;
};

}  // namespace shufflefs
