// SIGTERM and SIGINT for the daemon: the first one asks it to stop, and a stop that takes too long,
// or a second signal, ends the process at once, so that it always stops within a bounded time
// whatever hangs.
//
// Construct it before any other thread is started: they inherit the blocked signals, and a thread
// of its own receives them. The destructor stands the watch down. Failure: none that matters;
// without the thread the default action of the signals stays.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"

namespace shufflefs {

class SignalWatch {
 public:
  // `mount` is detached before the process is ended by force, so that no dead mount stays behind.
  SignalWatch(std::string mount, std::chrono::milliseconds patience);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Returns when it is time to stop: true if a signal asked for it, false if request_stop() did.
  bool wait();
  // Stops as if a signal had come: for a daemon that finds itself unable to go on. Any thread.
  void request_stop();

 private:
  void watch();
  void on_request(bool by_signal, const char* why);
  [[noreturn]] void end_by_force(const char* why) const;

  const std::string mount_;
  const std::chrono::milliseconds patience_;
  Fd signals_;
  Fd wake_;  // written by request_stop() and by the destructor
  std::mutex mu_;
  std::condition_variable changed_;
  bool requested_ = false;  // GUARDED_BY(mu_)
  bool by_signal_ = false;  // GUARDED_BY(mu_)
  bool finished_ = false;   // GUARDED_BY(mu_)
  std::thread thread_;
};

}  // namespace shufflefs
