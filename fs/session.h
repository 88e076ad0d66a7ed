// The low-level FUSE session: negotiates with the kernel, runs libfuse's multi-threaded loop on
// threads of its own, and stops within a bound, whatever the kernel or a disk is doing.
//
// Threads: start(), stop() and the destructor on one thread; the operations run on the session's,
// with all signals blocked. Ownership: takes the Mount; the Operations outlive it. Failure: start()
// gives an Error with the remedy. At the end: stop(), then drain what may still answer requests
// (the reactor), then destroy the Session: fuse_reply_* is valid until the destructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "fs/mount.h"
#include "fs/operations.h"

namespace shufflefs::fs {

struct SessionOptions {
  unsigned max_threads = 16;
  unsigned max_idle_threads = 16;  // threads above it end when they have nothing to do
  // The kernel's FUSE_INIT, which it sends once in the life of a mount and somebody else has read;
  // empty: the session reads it. See mount.h.
  std::vector<std::byte> init_message{};
  // A worker before us has died: ask the kernel for what it left unanswered.
  bool resend = false;
  // Requests over io_uring, where the kernel and libfuse have it; else a warning, and /dev/fuse.
  // Excludes takeover: requests that a ring has taken die with its process.
  bool io_uring = false;
  // False: no extended attributes and no ACLs, so the kernel does not ask for one before a write.
  bool xattrs = true;
  // Called once on a session thread when the loop has ended without stop(): somebody unmounted us,
  // or an error.
  std::function<void()> on_ended;
};

class Session {
 public:
  // Returns when the kernel has accepted the connection.
  static Result<std::unique_ptr<Session>> start(Mount mount, Operations& operations,
                                                SessionOptions options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // Unmounts and ends the loop. Open files are cut off: their users get errors once the Session is
  // destroyed. After `timeout` without an end the connection is aborted; a thread that hangs on a
  // disk even then is left behind.
  void stop(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // Ends the loop and leaves the mount to another worker. What is under way on the session's
  // threads is finished; nothing that is answered afterwards reaches the kernel, which will ask the
  // other one.
  void hand_over(std::chrono::milliseconds timeout = std::chrono::seconds(5));

  struct State;

 private:
  explicit Session(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
  bool stopped_ = false;
};

// Raises the limit of open files as far as the system allows; logs what came of it. Called once at
// start.
void raise_file_limit();

}  // namespace shufflefs::fs
