#include "merge/disk_keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace shufflefs::merge {

DiskKeeper::DiskKeeper(Runtime& runtime, Disks& disks, MergeStore& store, Metrics& metrics,
                       DiskOptions options)
    : runtime_(runtime),
      disks_(disks),
      store_(store),
      options_(options),
      evictions_(metrics.counter("shufflefs_merge_evictions_total",
                                 "Shuffles evicted from a nearly full disk.")) {
  const auto gauge = [&](const char* name, const char* help, auto value) {
    metrics.gauges(name, help, "disk", [this, value] {
      Metrics::Samples samples;
      for (std::size_t i = 0; i < disks_.size(); ++i)
        samples.emplace_back(fmt::format("disk{}", i), value(disks_, i) ? 1.0 : 0.0);
      return samples;
    });
  };
  gauge("shufflefs_disk_failed", "1 if the disk is unused after an I/O error.",
        [](const Disks& disks, std::size_t i) { return !disks.is_well(i); });
  gauge("shufflefs_disk_takes_merged", "1 if the disk has room for merged data.",
        [](const Disks& disks, std::size_t i) { return disks.takes_merged(i); });
}

bool DiskKeeper::is_complete(const Seen& seen) const {
  return runtime_.now() - seen.since >= options_.complete_after;
}

Task<void> DiskKeeper::look_at_shuffles() {
  std::map<ShuffleKey, Seen> seen;
  for (const MergeStore::Use& use : store_.uses()) {
    const auto before = seen_.find(use.shuffle);
    const bool same = before != seen_.end() && before->second.appends == use.appends;
    seen[use.shuffle] = same ? before->second : Seen{use.appends, runtime_.now(), false};
  }
  seen_ = std::move(seen);
  std::vector<ShuffleKey> untrimmed;
  for (auto& [shuffle, what] : seen_) {
    if (what.trimmed || what.appends == 0 || !is_complete(what)) continue;
    what.trimmed = true;
    untrimmed.push_back(shuffle);
  }
  if (untrimmed.empty()) co_return;
  (void)co_await offload(runtime_, [&]() -> Status {
    for (const ShuffleKey& shuffle : untrimmed) store_.trim(shuffle);
    return ok();
  });
}

std::vector<ShuffleKey> DiskKeeper::by_worth() const {
  std::vector<std::pair<ShuffleKey, Seen>> all(seen_.begin(), seen_.end());
  std::ranges::sort(all, [this](const auto& a, const auto& b) {
    return std::tuple(!is_complete(a.second), a.second.since, a.first) <
           std::tuple(!is_complete(b.second), b.second.since, b.first);
  });
  std::vector<ShuffleKey> keys;
  keys.reserve(all.size());
  for (auto& [shuffle, seen] : all) keys.push_back(std::move(shuffle));
  return keys;
}

Task<void> DiskKeeper::make_room(std::size_t disk) {
  for (const ShuffleKey& shuffle : by_worth()) {
    const uint64_t missing = disks_.to_evict(disk);
    if (missing == 0) co_return;
    const bool evicted = co_await offload(runtime_, [&] {
      const bool gone = store_.evict(shuffle, disk);
      if (gone) disks_.refresh();
      return gone;
    });
    if (!evicted) continue;
    evictions_.add();
    log_warning("merge.evicted", {{"shuffle", to_string(shuffle)},
                                  {"disk", disks_.path(disk)},
                                  {"missing_bytes", missing},
                                  {"reason",
                                   "the disk is running full; the blocks are read from "
                                   "their origins"}});
  }
}

Task<void> DiskKeeper::try_failed_disks() {
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (disks_.is_well(disk)) {
      failed_.erase(disk);
      continue;
    }
    const auto [it, is_new] = failed_.try_emplace(disk, runtime_.now());
    if (is_new || runtime_.now() - it->second < options_.try_again_after) continue;
    it->second = runtime_.now();
    (void)co_await offload(runtime_, [&]() -> Status {
      if (!disks_.works_again(disk)) return ok();
      // Before anything new can be put there. What fails again is tried again with the disk.
      const Status finished = store_.finish_drops(disk);
      if (finished)
        disks_.recovered(disk);
      else
        disks_.note(disk, finished.error());
      return ok();
    });
  }
}

Task<void> DiskKeeper::run() {
  while (true) {
    co_await try_failed_disks();
    (void)co_await offload(runtime_, [this]() -> Status {
      disks_.refresh();
      store_.flush_idle();
      store_.drop_again();
      return ok();
    });
    co_await look_at_shuffles();
    for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
      if (disks_.to_evict(disk) > 0) co_await make_room(disk);
    }
    bool scarce = false;
    for (std::size_t disk = 0; disk < disks_.size(); ++disk) scarce |= disks_.is_scarce(disk);
    co_await sleep_for(runtime_, scarce ? options_.check_interval / 10 : options_.check_interval);
  }
}

}  // namespace shufflefs::merge
