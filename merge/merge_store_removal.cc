// How merged partitions go: map outputs that were removed, shuffles that were dropped, disks that
// run full.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "merge/merge_store.h"

namespace shufflefs::merge {

void MergeStore::forget(const ShuffleKey& key, const MapCommit& commit) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  if (shuffle) shuffle->commits->remove(commit);
}

void MergeStore::forget_range(const ShuffleKey& key, NodeTag origin, const CommitRange& range) {
  const uint64_t known = known_life(key);
  std::shared_ptr<Shuffle> shuffle;
  {
    const MutexLock lock(mu_);
    std::shared_ptr<Shuffle>& place = shuffles_[key];
    if (!place) place = std::make_shared<Shuffle>(known, disks_.size());
    shuffle = place;
  }
  shuffle->commits->end_range(origin, range);
}

// ---- drops ---------------------------------------------------------------------------------------------------------

void MergeStore::drop(const ShuffleKey& key, uint64_t life) {
  std::shared_ptr<Shuffle> shuffle;
  {
    const MutexLock lock(mu_);
    const auto it = shuffles_.find(key);
    if (it == shuffles_.end() || it->second->life >= life) return;
    shuffle = std::move(it->second);
    shuffles_.erase(it);
  }
  end(key, *shuffle);
}

// REQUIRES: it is not in shuffles_ any more.
void MergeStore::end(const ShuffleKey& key, Shuffle& shuffle) {
  {
    // Alone: appends under way have ended, and later ones go to the next life's directory.
    const ExclusiveLock alone(shuffle.gone_mu);
    shuffle.gone = true;
  }
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) discard(disk, {key, shuffle.life});
}

void MergeStore::discard(std::size_t disk, const Life& life) {
  std::string place = directory(disk, life);
  files_.forget_below(place);
  if (disks_.is_well(disk)) {
    const Status discarded = trash_.discard(place);
    if (discarded) {
      // The application's directory goes with its last shuffle; until then this fails, as it
      // should.
      (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
      return;
    }
    disks_.note(disk, discarded.error());
    log_limited(LogLevel::kWarning, "merge.not_dropped",
                {{"directory", place}, {"reason", discarded.error().message}});
  }
  drop_later(disk, std::move(place));
}

void MergeStore::drop_later(std::size_t disk, std::string place) {
  const MutexLock lock(undone_mu_);
  undone_[disk].directories.push_back(std::move(place));
}

void MergeStore::remove_later(const std::string& base, std::size_t disk) {
  // The index first: bytes that nobody names are no harm if this ends half-way.
  for (const char* suffix : {".index", ".data"}) {
    files_.forget(base + suffix);
    const MutexLock lock(undone_mu_);
    undone_[disk].files.push_back(base + suffix);
  }
}

Status MergeStore::finish_drops(std::size_t disk) {
  bool unlisted = false;
  std::vector<std::string> files;
  {
    const MutexLock lock(undone_mu_);
    unlisted = undone_[disk].unlisted;
    files.swap(undone_[disk].files);
  }
  Status all = ok();
  for (std::string& path : files) {
    files_.forget(path);
    const Status removed = io_.remove_file(path);
    if (removed || removed.error().code == Code::kNotFound) continue;
    all = removed;
    const MutexLock lock(undone_mu_);
    undone_[disk].files.push_back(std::move(path));
  }
  TRY(all);
  // It may have been away for that as well.
  if (unlisted) TRY(trash_.add_disk(disks_.path(disk)));
  TRY(discard_undone(disk));
  return unlisted ? finish_load(disk) : ok();
}

void MergeStore::drop_again() {
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (!disks_.is_well(disk)) continue;
    const Status done = discard_undone(disk);
    if (!done) disks_.note(disk, done.error());
  }
}

Status MergeStore::discard_undone(std::size_t disk) {
  std::vector<std::string> directories;
  {
    const MutexLock lock(undone_mu_);
    directories.swap(undone_[disk].directories);
  }
  Status all = ok();
  for (std::string& place : directories) {
    const Status discarded = trash_.discard(place);
    // A reader of then may still have had them open.
    files_.forget_below(place);
    if (discarded) {
      (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
      continue;
    }
    log_limited(LogLevel::kWarning, "merge.not_dropped",
                {{"directory", place}, {"reason", discarded.error().message}});
    all = discarded;
    drop_later(disk, std::move(place));
  }
  return all;
}

// ---- evictions -----------------------------------------------------------------------------------------------------

bool MergeStore::end_if(const ShuffleKey& key, const std::function<bool()>& condition) {
  bool any = false;
  for (std::size_t disk = 0; disk < disks_.size(); ++disk)
    any = evict_if(key, disk, condition) || any;
  return any;
}

bool MergeStore::evict_if(const ShuffleKey& key, std::size_t disk,
                          const std::function<bool()>& condition) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  if (!shuffle) return false;
  const Life life{key, shuffle->life};
  const ExclusiveLock alone(shuffle->gone_mu);
  if (shuffle->gone || !condition()) return false;
  std::vector<std::string> elsewhere;  // files on other disks
  std::vector<std::size_t> away;
  {
    const MutexLock lock(shuffle->mu);
    if (!take_out(life, *shuffle, disk, elsewhere)) return false;
    shuffle->has_directory[disk] = false;
    // A disk that is away may have earlier copies of partitions, with segments on this one.
    for (std::size_t other = 0; other < disks_.size(); ++other) {
      if (disks_.is_well(other)) continue;
      shuffle->has_directory[other] = false;
      away.push_back(other);
    }
  }
  for (const std::size_t other : away) {
    // What they hold is not to be written when they are back either.
    files_.forget_below(directory(other, life));
    drop_later(other, directory(other, life));
  }
  const std::string place = directory(disk, life);
  files_.forget_below(place);
  for (const std::string& path : elsewhere) {
    files_.forget(path);
    (void)io_.remove_file(path);
  }
  const Status removed = trash_.discard_now(place);
  if (!removed) disks_.note(disk, removed.error());
  (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
  return true;
}

bool MergeStore::take_out(const Life& life, Shuffle& shuffle, std::size_t disk,
                          std::vector<std::string>& elsewhere) {
  // A partition that has only a part on the disk, or on one that is away, goes as a whole: an index
  // without the bytes that it names would pass for a copy.
  const auto goes = [&](std::size_t at) { return at == disk || !disks_.is_well(at); };
  bool any = false;
  for (auto it = shuffle.slots.begin(); it != shuffle.slots.end();) {
    Slot& slot = *it->second;
    std::map<uint32_t, std::size_t> segments;
    {
      const MutexLock lock(slot.segments_mu);
      segments = slot.segments;
    }
    const bool is_concerned =
        goes(slot.disk) ||
        std::ranges::any_of(segments, [&](const auto& segment) { return goes(segment.second); });
    if (!is_concerned) {
      ++it;
      continue;
    }
    any = true;
    list_files(life, it->first, slot, segments, disk, elsewhere);
    it = shuffle.slots.erase(it);
  }
  return any;
}

void MergeStore::list_files(const Life& life, PartitionId partition, const Slot& slot,
                            const std::map<uint32_t, std::size_t>& segments, std::size_t without,
                            std::vector<std::string>& files) const {
  // What is on a disk that is away goes when it is back (drop_later).
  const auto counts = [&](std::size_t disk) { return disk != without && disks_.is_well(disk); };
  if (counts(slot.disk)) {
    // The index first: bytes that nobody names are no harm if this ends half-way.
    for (const char* suffix : {".index", ".data"})
      files.push_back(base_of(slot.disk, life, partition) + suffix);
  }
  for (const auto& [segment, disk] : segments) {
    if (counts(disk))
      files.push_back(fmt::format("{}.{}.data", base_of(disk, life, partition), segment));
  }
}

void MergeStore::trim(const ShuffleKey& key) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  if (!shuffle) return;
  const SharedLock not_gone(shuffle->gone_mu);
  if (shuffle->gone) return;
  std::vector<std::shared_ptr<Slot>> slots;
  {
    const MutexLock lock(shuffle->mu);
    for (const auto& [partition, slot] : shuffle->slots) slots.push_back(slot);
  }
  for (const std::shared_ptr<Slot>& slot : slots) {
    std::shared_ptr<MergedPartition> merged;
    {
      const MutexLock lock(slot->mu);
      merged = slot->partition;
    }
    if (merged) merged->trim();
  }
}

}  // namespace shufflefs::merge
