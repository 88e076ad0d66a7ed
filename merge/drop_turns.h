// One drop of an application at a time, and nothing of it is taken in meanwhile. A drop waits for
// disks between its beginning (the epoch is raised) and its end; a message that comes in between
// must neither count as dropped with the rest nor begin the same drop again, which would take what
// has been written since.
//
// Threads: reactor only. Bound: a turn is waited for at most kPatience; then kNoMemory, which
// senders take for "busy".
#pragma once

#include <chrono>
#include <map>
#include <memory>

#include "base/byte_budget.h"
#include "merge/ids.h"

namespace shufflefs::merge {

class DropTurns {
 public:
  using Turn = ByteBudget::Lease;  // of one byte

  explicit DropTurns(Runtime& runtime) : runtime_(runtime) {}

  [[nodiscard]] bool is_free(const AppId& app) const {
    const auto it = turns_.find(app);
    return it == turns_.end() || it->second->used_bytes() == 0;
  }
  // Waits until no other drop of the application is under way.
  [[nodiscard]] Task<Result<Turn>> take(AppId app) {
    std::erase_if(turns_, [](const auto& entry) {
      return entry.second.use_count() == 1 && entry.second->used_bytes() == 0;
    });
    std::shared_ptr<ByteBudget>& place = turns_[app];
    if (!place) place = std::make_shared<ByteBudget>(runtime_, 1);
    const std::shared_ptr<ByteBudget> turns = place;  // while it is waited for
    auto turn = co_await turns->acquire(1, kPatience);
    if (!turn)
      co_return make_error(Code::kNoMemory, "a drop of " + app.str() + " has not ended yet");
    co_return turn;
  }

 private:
  static constexpr auto kPatience = std::chrono::seconds(10);
  Runtime& runtime_;
  std::map<AppId, std::shared_ptr<ByteBudget>> turns_;
};

}  // namespace shufflefs::merge
