// The daemon put together: the only place that constructs. Everything is made here in order, and
// undone in the reverse.
//
// Threads: start(), stop() and the destructor on one thread; a reactor thread, disk threads and
// FUSE threads are its own. Failure: start() undoes what it has made and says what to do. stop() is
// bounded; the supervisor ends what hangs anyway.
#pragma once

#include <functional>
#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "main/settings.h"
#include "main/worker_channel.h"

namespace shufflefs {

class Node {
 public:
  // Called on some thread of the node.
  struct Listeners {
    std::function<void()> on_unable;             // the mount has ended: somebody unmounted it
    std::function<void(LogLevel)> on_log_level;  // somebody has changed it
  };

  // Serves the mount that `state` stands for, from its beginning or where a worker before us was
  // killed. `kept` outlives the node.
  static Result<std::unique_ptr<Node>> start(const Settings& settings, MountState state,
                                             fs::KeptFiles& kept, Listeners listeners);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Unmounts and ends.
  void stop();
  // Ends, and leaves the mount with everything that is open to another worker.
  void hand_over();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace shufflefs
