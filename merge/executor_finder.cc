#include "merge/executor_finder.h"

#include <optional>
#include <vector>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

// Who made its directories; nothing if none of them is there.
std::optional<uint32_t> owner_of(FileIo& io, const LocalDirs& rules, const Executor& executor) {
  for (const LocalDir& directory : executor.directories) {
    if (const auto info = io.stat(rules.backing(directory))) return info->uid;
  }
  return std::nullopt;
}

}  // namespace

void ExecutorFinder::look_for(const Executor& executor) {
  pending_.emplace(executor.app.str(), executor.id);
  news_->wake();
}

Task<void> ExecutorFinder::run() {
  for (const ExecutorRef& executor : executors_.all()) {
    if (!executor->process) pending_.emplace(executor->app.str(), executor->id);
  }
  while (true) {
    while (pending_.empty()) co_await news_->wait_for(std::chrono::hours(1));
    (void)co_await offload(runtime_, [this, names = std::exchange(pending_, {})]() -> Status {
      search(names);
      return ok();
    });
  }
}

void ExecutorFinder::search(const Names& names) const {
  std::vector<ExecutorRef> executors;
  std::vector<WantedProcess> wanted;
  for (const auto& [app, id] : names) {
    ExecutorRef executor = executors_.find(app, id);
    const auto owner = executor ? owner_of(io_, executors_.rules(), *executor) : std::nullopt;
    if (!owner) continue;
    wanted.push_back({app, id, *owner});
    executors.push_back(std::move(executor));
  }
  if (wanted.empty()) return;
  const ProcessesFound found = find_executor_processes(wanted, limits_);
  for (const auto& [place, mark] : found.marks) {
    executors_.set_process(*executors[place], mark);
    log_debug("executor.process_found", {{"app", executors[place]->app.str()},
                                         {"executor", executors[place]->id},
                                         {"pid", mark.pid}});
  }
  if (!found.complete)
    log_warning("executors.search_cut", {{"executors", wanted.size()},
                                         {"found", found.marks.size()},
                                         {"processes_looked_at", found.looked_at}});
}

}  // namespace shufflefs::merge
