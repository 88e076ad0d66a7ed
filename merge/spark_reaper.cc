#include "merge/spark_reaper.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "merge/executor_process.h"
#include "merge/spark_files.h"

namespace shufflefs::merge {
namespace {

uint64_t to_ms(Duration duration) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

SparkReaper::SparkReaper(Parts parts, ReaperOptions options)
    : parts_(std::move(parts)), options_(options) {
  if (!parts_.is_gone)
    parts_.is_gone = [](const ProcessMark& mark) { return merge::is_gone(mark); };
}

Task<void> SparkReaper::run() {
  while (true) {
    co_await sleep_for(parts_.runtime, options_.interval);
    (void)co_await offload(parts_.runtime, [this]() -> Status {
      sweep(to_ms(parts_.runtime.wall_clock().time_since_epoch()));
      return ok();
    });
  }
}

// All of its directories are gone from disks that are there.
bool SparkReaper::is_gone(const Executor& executor) const {
  const LocalDirs& rules = parts_.executors.rules();
  return std::all_of(executor.directories.begin(), executor.directories.end(),
                     [&](const LocalDir& directory) {
                       const auto there = parts_.io.stat(rules.backing(directory));
                       if (there || there.error().code != Code::kNotFound) return false;
                       return static_cast<bool>(parts_.io.stat(rules.roots().at(directory.root)));
                     });
}

void SparkReaper::sweep(uint64_t now_ms) {
  std::set<ExecutorRef> listed;
  for (const ExecutorRef& executor : parts_.executors.all()) {
    if (is_gone(*executor)) {
      parts_.executors.forget(*executor);
      log_info("executor.forgotten", {{"app", executor->app.str()},
                                      {"executor", executor->id},
                                      {"reason", "its directories are gone"}});
      continue;
    }
    listed.insert(executor);
    if (!executor->process || !parts_.is_gone(*executor->process)) continue;
    Death& death = dead_[executor];
    if (death.seen_ms == 0) death.seen_ms = now_ms;
    if (death.done || now_ms - death.seen_ms < to_ms(options_.temporary_grace)) continue;
    remove_temporaries(*executor);
    death.done = true;
  }
  std::erase_if(dead_, [&](const auto& entry) { return !listed.contains(entry.first); });
  if (options_.app_ttl > Duration::zero()) end_applications(now_ms);
}

void SparkReaper::remove_temporaries(const Executor& executor) {
  const LocalDirs& rules = parts_.executors.rules();
  std::vector<std::string> names;
  uint64_t bytes = 0;
  for (const LocalDir& directory : executor.directories) {
    const auto subs = parts_.io.list(rules.backing(directory));
    if (!subs) continue;
    for (const DirectoryEntry& sub : *subs) {
      if (!sub.is_directory) continue;
      const std::string below = "/" + sub.name + "/";
      const auto files = parts_.io.list(rules.backing(directory) + "/" + sub.name);
      if (!files) continue;
      for (const DirectoryEntry& file : *files) {
        if (file.is_directory || !is_spark_temporary(file.name)) continue;
        const std::string path = rules.backing(directory) + below + file.name;
        const auto info = parts_.io.stat(path);
        if (!info || !info->is_regular || !parts_.io.remove_file(path)) continue;
        bytes += info->size;
        if (rules.is_disk(directory.root))
          names.push_back(directory.registered + below + file.name);
      }
    }
  }
  log_info("executor.temporaries_removed", {{"app", executor.app.str()},
                                            {"executor", executor.id},
                                            {"files", names.size()},
                                            {"bytes", bytes},
                                            {"reason", "its process has ended"}});
  if (parts_.forget_names && !names.empty()) parts_.forget_names(names);
}

// When something was last put into its directories. A new or removed file changes its
// sub-directory.
uint64_t SparkReaper::last_change_ms(const Executor& executor) const {
  uint64_t last = 0;
  for (const LocalDir& directory : executor.directories) {
    const std::string path = parts_.executors.rules().backing(directory);
    if (const auto info = parts_.io.stat(path)) last = std::max(last, info->modified_ms);
    const auto subs = parts_.io.list(path);
    if (!subs) continue;
    for (const DirectoryEntry& sub : *subs) {
      if (const auto info = parts_.io.stat(path + "/" + sub.name))
        last = std::max(last, info->modified_ms);
    }
  }
  return last;
}

void SparkReaper::end_applications(uint64_t now_ms) {
  const uint64_t ttl = to_ms(options_.app_ttl);
  std::map<AppId, std::vector<ExecutorRef>> applications;
  for (const ExecutorRef& executor : parts_.executors.all())
    applications[executor->app].push_back(executor);
  for (const auto& [app, executors] : applications) {
    const auto shows_life = [&](const ExecutorRef& executor) {
      return executor->registered_ms + ttl > now_ms ||
             (executor->process && !parts_.is_gone(*executor->process));
    };
    if (parts_.executors.last_used_ms(app) + ttl > now_ms) continue;
    if (std::any_of(executors.begin(), executors.end(), shows_life)) continue;
    // Last, as it asks the disk most.
    const auto has_changed = [&](const ExecutorRef& executor) {
      return last_change_ms(*executor) + ttl > now_ms;
    };
    if (std::any_of(executors.begin(), executors.end(), has_changed)) continue;
    log_info("application.ended", {{"app", app.str()},
                                   {"executors", executors.size()},
                                   {"reason", "no sign of it for as long as app-ttl"}});
    for (const ExecutorRef& executor : executors) end(*executor);
  }
}

void SparkReaper::end(const Executor& executor) {
  const LocalDirs& rules = parts_.executors.rules();
  for (const LocalDir& directory : executor.directories) {
    // What lies outside the mount was not ours to make, and is not ours to remove.
    if (!rules.is_disk(directory.root)) continue;
    const std::string path = rules.backing(directory);
    std::vector<std::string> outputs;
    if (const auto subs = parts_.io.list(path)) {
      for (const DirectoryEntry& sub : *subs) {
        const auto files = parts_.io.list(path + "/" + sub.name);
        if (!files) continue;
        for (const DirectoryEntry& file : *files) {
          if (parse_spark_name(file.name))
            outputs.push_back(path + "/" + sub.name + "/" + file.name);
        }
      }
    }
    const Status discarded = parts_.trash.discard(path);
    if (!discarded) {
      log_warning("application.not_removed", {{"app", executor.app.str()},
                                              {"directory", path},
                                              {"reason", discarded.error().message}});
      return;  // the registration stays, so that the next sweep tries again
    }
    for (std::string& output : outputs) parts_.commits.spark_file_removed(std::move(output));
  }
  parts_.executors.forget(executor);
}

}  // namespace shufflefs::merge
