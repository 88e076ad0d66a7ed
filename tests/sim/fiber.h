// Blocking work as a disk thread runs it, cut into pieces: it runs on a stack of its own, and where
// it sleeps others go on. Exactly one runs at a time, all of a simulation in one thread, so the
// same seed is the same history.
//
// Locks: in a program with this file pthread_mutex_lock, the locks of pthread_rwlock and
// pthread_cond_wait come from fiber.cc. Who wants a lock that another fiber of the thread holds
// sleeps until it is free. Outside of fibers (the reactor) nothing else may happen meanwhile, so
// the other fibers are run at once.
#pragma once

#include <ucontext.h>

#include <functional>
#include <memory>
#include <optional>

#include "sim/schedule.h"

namespace shufflefs::sim {

class Fiber {
 public:
  // `ended` is called outside of the fiber, once; it may destroy it.
  Fiber(Schedule& schedule, std::function<void()> work, std::function<void()> ended);
  // REQUIRES: it has ended, or was never resumed.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The one that runs now; none on the reactor and in the simulation itself.
  [[nodiscard]] static Fiber* current();
  // Outside of fibers: goes on until it sleeps or ends. An end of a sleep that was planned is off.
  void resume();
  [[nodiscard]] bool has_ended() const { return ended_; }

  // ---- inside ------------------------------------------------------------------------------------
  void sleep(Duration time);
  // On a disk that hangs: who waits for a lock meanwhile does not end this sleep.
  void hang(Duration time);
  // From now on sleep() does nothing: the process is being killed.
  void hurry() { hurried_ = true; }
  [[nodiscard]] bool hurried() const { return hurried_; }
  void wait_for_lock(unsigned round);

  // Since the last call: did a reactor wait for a lock whose holder waits for a disk that hangs?
  [[nodiscard]] static bool reactor_was_stuck();
  // A reactor's work runs: what waits for locks outside of fibers is that.
  static void set_reactor_runs(bool runs);

 private:
  static void enter();
  void switch_out();
  void sleep_until_resumed(Duration time);

  Schedule& schedule_;
  std::function<void()> work_;
  std::function<void()> on_end_;
  std::unique_ptr<struct FiberStack> stack_;
  ucontext_t context_{};
  ucontext_t outside_{};
  std::optional<Schedule::Ticket> wakes_;
  bool hurried_ = false;
  bool hangs_ = false;
  bool ended_ = false;
  friend void wait_outside();
};

}  // namespace shufflefs::sim
