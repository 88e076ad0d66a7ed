// The shuffles that this node has anything of, as a remembered list: making it lists directories,
// and a disk that hangs must hang neither the metrics nor the report.
//
// Threads: refresh() on the reactor, last() on any. Ownership: the Runtime and the Engine outlive
// it and its job. Failure: while a disk does not answer, the list is that of before. Cost: one job
// on a disk thread for each refresh; a hanging disk holds one.
#pragma once

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/runtime.h"
#include "merge/engine.h"

namespace shufflefs {

class LocalShuffles {
 public:
  LocalShuffles(Runtime& runtime, const merge::Engine& engine);

  // Asks anew, unless that is under way still, and waits for the list, a second at most.
  [[nodiscard]] Task<void> refresh();
  // Sorted.
  [[nodiscard]] std::vector<merge::ShuffleKey> last() const;

 private:
  struct Shared {
    Mutex mu;
    std::vector<merge::ShuffleKey> keys GUARDED_BY(mu);
    bool asking GUARDED_BY(mu) = false;
  };
  [[nodiscard]] bool is_asking() const;

  Runtime& runtime_;
  const merge::Engine& engine_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace shufflefs
