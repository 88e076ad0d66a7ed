// How merged partitions go: map outputs that were removed, shuffles that were dropped, disks that
// run full.
#include <fmt/format.h>

#include <algorithm>

#include "merge/merge_store.h"

namespace shufflefs::merge {

void MergeStore::forget(const ShuffleKey& key, MapId map) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (shuffle) shuffle->forgotten->add(map);
}

Status MergeStore::drop(const ShuffleKey& key) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return ok();
  // Alone: appends under way have ended, and later ones make a new Shuffle in a new directory.
  const std::unique_lock alone(shuffle->gone_mu);
  shuffle->gone = true;
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    const std::string place = directory(disk, key);
    files_.forget_below(place);
    if (!disks_.is_well(disk)) {
      drop_later(disk, key);
      continue;
    }
    const Status discarded = trash_.discard(place);
    if (!discarded) {
      disks_.note(disk, discarded.error());
      if (disks_.is_well(disk)) return discarded;
      drop_later(disk, key);
      continue;
    }
    // The application's directory goes with its last shuffle; until then this fails, as it should.
    (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
  }
  const std::lock_guard lock(mu_);
  shuffles_.erase(key);
  return ok();
}

void MergeStore::drop_later(std::size_t disk, const ShuffleKey& key) {
  const std::lock_guard lock(undone_mu_);
  undone_[disk].shuffles.push_back(key);
}

void MergeStore::remove_later(const ShuffleKey& key, PartitionId partition, std::size_t disk) {
  const std::lock_guard lock(undone_mu_);
  // The index first: bytes that nobody names are no harm if this ends half-way.
  for (const char* suffix : {"index", "data"}) {
    std::string path = fmt::format("{}/{}.{}", directory(disk, key), number(partition), suffix);
    files_.forget(path);
    undone_[disk].files.push_back(std::move(path));
  }
}

Status MergeStore::finish_drops(std::size_t disk) {
  TRY(finish_load(disk));
  Status all = ok();
  Undone undone;
  {
    const std::lock_guard lock(undone_mu_);
    undone = std::exchange(undone_[disk], Undone{});
  }
  for (const ShuffleKey& key : undone.shuffles) {
    // A later life of the name has not been on this disk yet: it was away.
    const Status discarded = trash_.discard(directory(disk, key));
    // A reader of then may still have had them open.
    files_.forget_below(directory(disk, key));
    if (discarded) continue;
    all = discarded;
    drop_later(disk, key);
  }
  for (std::string& path : undone.files) {
    files_.forget(path);
    const Status removed = io_.remove_file(path);
    if (removed || removed.error().code == Code::kNotFound) continue;
    all = removed;
    const std::lock_guard lock(undone_mu_);
    undone_[disk].files.push_back(std::move(path));
  }
  return all;
}

// Not more than that: what is merged there may be the only copy since its origin was drained.
Status MergeStore::finish_load(std::size_t disk) {
  {
    const std::lock_guard lock(undone_mu_);
    if (!undone_[disk].unlisted) return ok();
  }
  TRY(trash_.add_disk(disks_.path(disk)));  // it may have been away for that as well
  TRY(make_root(disk));
  TRY_ASSIGN(const std::vector<ShuffleKey> keys, shuffles_on(disk));
  for (const ShuffleKey& key : keys) TRY(discard_stale(disk, key));
  const std::lock_guard lock(undone_mu_);
  undone_[disk].unlisted = false;
  return ok();
}

bool MergeStore::evict(const ShuffleKey& key, std::size_t disk) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return false;
  const std::unique_lock alone(shuffle->gone_mu);
  if (shuffle->gone) return false;
  std::vector<std::string> elsewhere;  // files on other disks
  {
    const std::lock_guard lock(shuffle->mu);
    // A partition that has only a part on the disk, or on one that is away (below), goes as a
    // whole: an index without the bytes that it names would pass for a copy.
    const auto goes = [&](std::size_t at) { return at == disk || !disks_.is_well(at); };
    const std::size_t removed = std::erase_if(shuffle->slots, [&](const auto& entry) {
      const Slot& slot = *entry.second;
      const bool concerned =
          goes(slot.disk) || std::ranges::any_of(slot.segments, [&](const auto& segment) {
            return goes(segment.second);
          });
      if (concerned) list_files(key, entry.first, slot, disk, elsewhere);
      return concerned;
    });
    if (removed == 0) return false;
    shuffle->has_directory[disk] = false;
    // A disk that is away may have earlier copies of partitions, with segments on this one.
    for (std::size_t away = 0; away < disks_.size(); ++away) {
      if (disks_.is_well(away)) continue;
      shuffle->has_directory[away] = false;
      files_.forget_below(directory(away, key));  // what they hold is not to be written then either
      drop_later(away, key);
    }
    shuffle->gone = shuffle->slots.empty();
  }
  files_.forget_below(directory(disk, key));
  for (const std::string& path : elsewhere) {
    files_.forget(path);
    (void)io_.remove_file(path);
  }
  const Status removed = trash_.discard_now(directory(disk, key));
  if (!removed) disks_.note(disk, removed.error());
  if (shuffle->gone) {
    const std::lock_guard all(mu_);
    shuffles_.erase(key);
  }
  const std::string place = directory(disk, key);
  (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
  return true;
}

void MergeStore::list_files(const ShuffleKey& key, PartitionId partition, const Slot& slot,
                            std::size_t without, std::vector<std::string>& files) const {
  // What is on a disk that is away goes when it is back (drop_later).
  const auto counts = [&](std::size_t disk) { return disk != without && disks_.is_well(disk); };
  if (counts(slot.disk)) {
    // The index first: bytes that nobody names are no harm if this ends half-way.
    for (const char* suffix : {"index", "data"})
      files.push_back(
          fmt::format("{}/{}.{}", directory(slot.disk, key), number(partition), suffix));
  }
  for (const auto& [segment, disk] : slot.segments) {
    if (counts(disk))
      files.push_back(
          fmt::format("{}/{}.{}.data", directory(disk, key), number(partition), segment));
  }
}

void MergeStore::trim(const ShuffleKey& key) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return;
  const std::shared_lock not_gone(shuffle->gone_mu);
  if (shuffle->gone) return;
  std::vector<std::shared_ptr<Slot>> slots;
  {
    const std::lock_guard lock(shuffle->mu);
    for (const auto& [partition, slot] : shuffle->slots) slots.push_back(slot);
  }
  for (const std::shared_ptr<Slot>& slot : slots) {
    std::shared_ptr<MergedPartition> merged;
    {
      const std::lock_guard lock(slot->mu);
      merged = slot->partition;
    }
    if (merged) merged->trim();
  }
}

}  // namespace shufflefs::merge
