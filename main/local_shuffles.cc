#include "main/local_shuffles.h"

#include <utility>

namespace shufflefs {

LocalShuffles::LocalShuffles(Runtime& runtime, const merge::Engine& engine)
    : runtime_(runtime), engine_(engine) {}

bool LocalShuffles::is_asking() const {
  const MutexLock lock(shared_->mu);
  return shared_->asking;
}

Task<void> LocalShuffles::refresh() {
  constexpr auto kPatience = std::chrono::seconds(1);
  constexpr auto kLook = std::chrono::milliseconds(2);
  bool was_asking = false;
  {
    const MutexLock lock(shared_->mu);
    was_asking = std::exchange(shared_->asking, true);
  }
  if (!was_asking) {
    runtime_.post_blocking([shared = shared_, &engine = engine_] {
      std::vector<merge::ShuffleKey> keys = engine.local_shuffles();
      const MutexLock lock(shared->mu);
      shared->keys = std::move(keys);
      shared->asking = false;
    });
  }
  const TimePoint deadline = runtime_.now() + kPatience;
  while (is_asking() && runtime_.now() < deadline) co_await sleep_for(runtime_, kLook);
}

std::vector<merge::ShuffleKey> LocalShuffles::last() const {
  const MutexLock lock(shared_->mu);
  return shared_->keys;
}

}  // namespace shufflefs
