#include "merge/spark_reaper.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/log.h"
#include "merge/executor_process.h"
#include "merge/spark_files.h"

namespace shufflefs::merge {
SparkReaper::SparkReaper(Parts parts, ReaperOptions options)
    : parts_(std::move(parts)), options_(options) {
  if (!parts_.is_gone)
    parts_.is_gone = [](const ProcessMark& mark) { return merge::is_gone(mark); };
}

Task<void> SparkReaper::run() {
  while (true) {
    co_await sleep_for(parts_.runtime, options_.interval);
    (void)co_await offload(parts_.runtime, [this, now = parts_.runtime.now()]() -> Status {
      sweep(now);
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

void SparkReaper::sweep(TimePoint now) {
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
    Death& death = dead_.try_emplace(executor, Death{now}).first->second;
    if (death.done || now - death.seen < options_.temporary_grace) continue;
    remove_temporaries(*executor);
    death.done = true;
  }
  std::erase_if(dead_, [&](const auto& entry) { return !listed.contains(entry.first); });
  if (options_.app_ttl > Duration::zero()) end_applications(now);
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

// Another number when something was put into its directories, removed there or written on.
std::size_t SparkReaper::stamps_of(const ExecutorList& executors) const {
  std::size_t stamps = 0;
  const auto add = [&](const std::string& path) {
    const auto info = parts_.io.stat(path);
    const FileStamp stamp = info ? info->stamp : FileStamp{};
    const SeededHash hash;
    stamps = hash(hash(hash(stamps) ^ stamp.inode) ^ stamp.modified_ns);
  };
  for (const ExecutorRef& executor : executors) {
    for (const LocalDir& directory : executor->directories) {
      const std::string path = parts_.executors.rules().backing(directory);
      add(path);
      auto subs = parts_.io.list(path);
      if (!subs) continue;
      std::ranges::sort(*subs, {}, &DirectoryEntry::name);
      for (const DirectoryEntry& sub : *subs) {
        add(path + "/" + sub.name);
        auto files = parts_.io.list(path + "/" + sub.name);
        if (!files) continue;
        std::ranges::sort(*files, {}, &DirectoryEntry::name);
        for (const DirectoryEntry& file : *files) add(path + "/" + sub.name + "/" + file.name);
      }
    }
  }
  return stamps;
}

bool SparkReaper::is_quiet(const AppId& app, const ExecutorList& executors, TimePoint now) {
  const uint64_t sign = parts_.executors.last_sign(app);
  const auto [it, is_new] = lives_.try_emplace(app);
  Life& life = it->second;
  if (is_new || life.sign != sign) {
    life = {now, sign, is_new ? std::optional(stamps_of(executors)) : std::nullopt, now};
    return false;
  }
  // The disk is asked most, so only of who is quiet otherwise, and not at each sweep.
  const bool is_over = now - life.seen >= options_.app_ttl;
  if (life.stamps && !is_over && now - life.looked < options_.app_ttl / kLooksPerTtl) return false;
  const std::size_t stamps = stamps_of(executors);
  // The first ones may have changed since the last sweep.
  const bool has_changed = !life.stamps || *life.stamps != stamps;
  life.stamps = stamps;
  life.looked = now;
  if (has_changed) life.seen = now;
  return is_over && !has_changed;
}

void SparkReaper::end_applications(TimePoint now) {
  std::map<AppId, ExecutorList> applications;
  for (const ExecutorRef& executor : parts_.executors.all())
    applications[executor->app].push_back(executor);
  std::erase_if(lives_, [&](const auto& entry) { return !applications.contains(entry.first); });
  for (const auto& [app, executors] : applications) {
    if (!is_quiet(app, executors, now)) continue;
    const bool runs = std::ranges::any_of(executors, [&](const ExecutorRef& executor) {
      return executor->process && !parts_.is_gone(*executor->process);
    });
    if (runs) continue;
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
