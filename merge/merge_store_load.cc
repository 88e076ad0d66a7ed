// What a start finds of the merged partitions on the disks.
#include <fmt/format.h>

#include "base/log.h"
#include "base/parse.h"
#include "merge/merge_store.h"

namespace shufflefs::merge {
namespace {

// Read through the mount, or not at all.
constexpr uint32_t kPrivateDirectory = 0700;

}  // namespace

Status MergeStore::load() {
  std::vector<std::vector<Life>> lives(disks_.size());
  Largest largest;
  const auto give_up = [&](std::size_t disk, const Error& error) -> Status {
    if (disks_.size() == 1) return error;
    disks_.fail(disk, error.message);
    return ok();
  };
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (!disks_.is_well(disk)) continue;
    const Status has_root = make_root(disk);
    auto listed = has_root ? lives_on(disk) : Result<std::vector<Life>>(has_root.error());
    if (!listed) {
      TRY(give_up(disk, listed.error()));
      continue;
    }
    lives[disk] = *std::move(listed);
    for (const Life& life : lives[disk]) {
      uint64_t& most = largest.try_emplace(life.key, known_life(life.key)).first->second;
      most = std::max(most, life.life);
    }
  }
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (disks_.is_well(disk)) {
      const Status loaded = load_disk(disk, lives[disk], largest);
      if (loaded) continue;
      TRY(give_up(disk, loaded.error()));
    }
    const MutexLock lock(undone_mu_);
    undone_[disk].unlisted = true;
  }
  const MutexLock lock(mu_);
  for (const auto& [key, shuffle] : shuffles_) attach_strays(*shuffle);
  return ok();
}

Status MergeStore::make_root(std::size_t disk) {
  const std::string root = disks_.path(disk) + "/merged";
  TRY(io_.make_directories(root));
  return io_.set_mode(root, kPrivateDirectory);
}

Result<std::vector<MergeStore::Life>> MergeStore::lives_on(std::size_t disk) const {
  const std::string root = disks_.path(disk) + "/merged";
  const auto foreign = [](const std::string& path) {
    log_warning("merge.foreign_name", {{"path", path}});
  };
  std::vector<Life> lives;
  TRY_ASSIGN(const std::vector<DirectoryEntry> apps, io_.list(root));
  for (const DirectoryEntry& app_entry : apps) {
    const std::string place = root + "/" + app_entry.name;
    const auto app = AppId::parse(app_entry.name);
    if (!app || !app_entry.is_directory) {
      foreign(place);
      continue;
    }
    TRY_ASSIGN(const std::vector<DirectoryEntry> shuffles, io_.list(place));
    for (const DirectoryEntry& entry : shuffles) {
      // <shuffle>-<life>
      const auto parts = split(entry.name, '-');
      const auto shuffle = parse_shuffle_id(parts.front());
      const auto life = parts.size() == 2 ? parse_decimal(parts[1]) : std::nullopt;
      if (shuffle && life && entry.is_directory)
        lives.push_back({{*app, *shuffle}, *life});
      else
        foreign(place + "/" + entry.name);
    }
  }
  return lives;
}

Status MergeStore::load_disk(std::size_t disk, const std::vector<Life>& lives,
                             const Largest& largest) {
  for (const Life& life : lives) {
    TRY_ASSIGN(const FileInfo app, io_.stat(disks_.path(disk) + "/merged/" + life.key.app.str()));
    // Root's may be of before owners were remembered.
    if (app.uid != 0) loaded_owners_.try_emplace(life.key.app, FileOwner{app.uid, app.gid});
    if (life.life < largest.at(life.key)) {
      TRY(trash_.discard(directory(disk, life)));
    } else {
      TRY(load_shuffle(disk, life));
    }
  }
  return ok();
}

Result<MergeStore::Files> MergeStore::files_on(std::size_t disk, const Life& life) const {
  TRY_ASSIGN(const std::vector<DirectoryEntry> entries, io_.list(directory(disk, life)));
  Files files;
  for (const DirectoryEntry& entry : entries) {
    // <p>.index, <p>.data or <p>.<n>.data
    const auto parts = split(entry.name, '.');
    const auto partition = parse_partition_id(parts.front());
    if (!partition) continue;
    if (parts.size() == 2 && parts[1] == "index") {
      files.indexes.push_back(*partition);
    } else if (parts.size() == 3 && parts[2] == "data") {
      const auto segment = parse_decimal(parts[1], UINT32_MAX);
      if (segment) files.segments.emplace_back(*partition, static_cast<uint32_t>(*segment));
    }
  }
  return files;
}

Status MergeStore::load_shuffle(std::size_t disk, const Life& life) {
  TRY_ASSIGN(const Files files, files_on(disk, life));
  const std::shared_ptr<Shuffle> shuffle = enter(life.key, life.life);
  if (!shuffle) return trash_.discard(directory(disk, life));
  std::vector<std::pair<PartitionId, std::shared_ptr<Slot>>> twice;
  {
    const MutexLock lock(shuffle->mu);
    shuffle->has_directory[disk] = true;
    for (const PartitionId partition : files.indexes) {
      std::shared_ptr<Slot>& place = shuffle->slots[partition];
      if (place) {
        twice.emplace_back(partition, place);
        continue;
      }
      place = std::make_shared<Slot>();
      place->disk = disk;
      place->is_loaded = true;
    }
    for (const auto& [partition, segment] : files.segments)
      shuffle->strays[partition][segment] = disk;
  }
  // A disk had failed, the partition was begun anew on another, and the disk is back. The one with
  // more blocks counts, the other goes.
  for (const auto& [partition, slot] : twice)
    slot->disk = keep_longer(slot->disk, disk, life, partition);
  return ok();
}

std::size_t MergeStore::keep_longer(std::size_t one, std::size_t other, const Life& life,
                                    PartitionId partition) {
  const auto index_on = [&](std::size_t on) { return base_of(on, life, partition) + ".index"; };
  const auto size_on = [&](std::size_t on) {
    const auto info = io_.stat(index_on(on));
    return info ? info->size : 0;
  };
  const std::size_t kept = size_on(other) > size_on(one) ? other : one;
  const std::size_t loser = kept == one ? other : one;
  const Status removed = io_.remove_file(index_on(loser));
  if (!removed) disks_.note(loser, removed.error());
  return kept;
}

void MergeStore::attach_strays(Shuffle& shuffle) {
  const MutexLock lock(shuffle.mu);
  for (auto stray = shuffle.strays.begin(); stray != shuffle.strays.end();) {
    const auto it = shuffle.slots.find(stray->first);
    if (it == shuffle.slots.end()) {
      ++stray;
      continue;
    }
    Slot& slot = *it->second;
    const MutexLock segments_lock(slot.segments_mu);
    slot.segments = std::move(stray->second);
    stray = shuffle.strays.erase(stray);
  }
}

// ---- a disk that was away at the start -----------------------------------------------------------------------------

// What is merged there may be the only copy since its origin was drained: of the current life
// nothing is removed.
Status MergeStore::finish_load(std::size_t disk) {
  TRY(make_root(disk));
  TRY_ASSIGN(const std::vector<Life> lives, lives_on(disk));
  Largest largest;
  for (const Life& one : lives) {
    uint64_t& most = largest.try_emplace(one.key, life(one.key)).first->second;
    most = std::max(most, one.life);
  }
  std::vector<std::pair<Life, Files>> found;
  for (const Life& one : lives) {
    if (one.life < largest.at(one.key)) {
      TRY(trash_.discard(directory(disk, one)));
      continue;
    }
    TRY_ASSIGN(Files files, files_on(disk, one));
    found.emplace_back(one, std::move(files));
  }
  // At the very end, as whoever appends to a partition of a disk that is away begins it anew.
  for (const auto& [one, files] : found) take_up(disk, one, files);
  const MutexLock lock(undone_mu_);
  undone_[disk].unlisted = false;
  return ok();
}

void MergeStore::take_up(std::size_t disk, const Life& life, const Files& files) {
  const std::shared_ptr<Shuffle> shuffle = enter(life.key, life.life);
  if (!shuffle) return discard(disk, life);  // dropped meanwhile
  const SharedLock not_gone(shuffle->gone_mu);
  if (shuffle->gone) return discard(disk, life);
  const MutexLock lock(shuffle->mu);
  shuffle->has_directory[disk] = true;
  std::map<PartitionId, bool> is_taken;
  for (const PartitionId partition : files.indexes) {
    std::shared_ptr<Slot>& place = shuffle->slots[partition];
    // What has been begun elsewhere stays; the next start compares the two.
    is_taken[partition] = place == nullptr;
    if (place) continue;
    place = std::make_shared<Slot>();
    place->disk = disk;
    place->is_loaded = true;
    const auto strays = shuffle->strays.find(partition);
    if (strays == shuffle->strays.end()) continue;
    Slot& slot = *place;
    const MutexLock segments_lock(slot.segments_mu);
    slot.segments = std::move(strays->second);
    shuffle->strays.erase(strays);
  }
  for (const auto& [partition, segment] : files.segments) {
    const auto it = shuffle->slots.find(partition);
    const auto taken = is_taken.find(partition);
    const bool is_other_copy = taken != is_taken.end() && !taken->second;
    if (it != shuffle->slots.end() && it->second->is_loaded && !is_other_copy) {
      Slot& slot = *it->second;
      const MutexLock segments_lock(slot.segments_mu);
      slot.segments.try_emplace(segment, disk);
    } else {
      shuffle->strays[partition].try_emplace(segment, disk);
    }
  }
}

}  // namespace shufflefs::merge
