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
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (disks_.is_well(disk)) {
      const Status loaded = load_disk(disk);
      if (loaded) continue;
      if (disks_.size() == 1) return loaded;
      disks_.fail(disk, loaded.error().message);
    }
    const std::lock_guard lock(undone_mu_);
    undone_[disk].unlisted = true;
  }
  attach_strays();
  return ok();
}

Status MergeStore::make_root(std::size_t disk) {
  const std::string root = disks_.path(disk) + "/merged";
  TRY(io_.make_directories(root));
  return io_.set_mode(root, kPrivateDirectory);
}

Result<std::vector<ShuffleKey>> MergeStore::shuffles_on(std::size_t disk) const {
  const std::string root = disks_.path(disk) + "/merged";
  std::vector<ShuffleKey> keys;
  TRY_ASSIGN(const std::vector<DirectoryEntry> apps, io_.list(root));
  for (const DirectoryEntry& app_entry : apps) {
    const auto app = AppId::parse(app_entry.name);
    if (!app || !app_entry.is_directory) {
      log_warning("merge.foreign_name", {{"path", root + "/" + app_entry.name}});
      continue;
    }
    TRY_ASSIGN(const std::vector<DirectoryEntry> shuffles, io_.list(root + "/" + app_entry.name));
    for (const DirectoryEntry& entry : shuffles) {
      const auto shuffle = parse_shuffle_id(entry.name);
      if (shuffle && entry.is_directory) keys.push_back({*app, *shuffle});
    }
  }
  return keys;
}

Status MergeStore::load_disk(std::size_t disk) {
  TRY(make_root(disk));
  TRY_ASSIGN(const std::vector<ShuffleKey> keys, shuffles_on(disk));
  for (const ShuffleKey& key : keys) {
    TRY_ASSIGN(const FileInfo app, io_.stat(disks_.path(disk) + "/merged/" + key.app.str()));
    // Root's may be of before owners were remembered.
    if (app.uid != 0) loaded_owners_.try_emplace(key.app, FileOwner{app.uid, app.gid});
    TRY_ASSIGN(const bool stale, discard_stale(disk, key));
    if (!stale) TRY(load_shuffle(disk, key));
  }
  return ok();
}

Result<bool> MergeStore::discard_stale(std::size_t disk, const ShuffleKey& key) {
  if (!options_.is_stale) return false;
  TRY_ASSIGN(const FileInfo info, io_.stat(directory(disk, key)));
  if (!options_.is_stale(key, info.modified_ms)) return false;
  TRY(trash_.discard(directory(disk, key)));
  return true;
}

Status MergeStore::load_shuffle(std::size_t disk, const ShuffleKey& key) {
  TRY_ASSIGN(const std::vector<DirectoryEntry> files, io_.list(directory(disk, key)));
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, true);
  const std::lock_guard lock(shuffle->mu);
  shuffle->has_directory[disk] = true;
  for (const DirectoryEntry& file : files) {
    // <p>.index, <p>.data or <p>.<n>.data
    const auto parts = split(file.name, '.');
    const auto partition = parse_partition_id(parts.front());
    if (!partition) continue;
    if (parts.size() == 2 && parts[1] == "index") {
      load_index(disk, key, *shuffle, *partition);
    } else if (parts.size() == 3 && parts[2] == "data") {
      const auto segment = parse_decimal(parts[1], UINT32_MAX);
      if (segment) shuffle->strays[*partition][static_cast<uint32_t>(*segment)] = disk;
    }
  }
  return ok();
}

void MergeStore::load_index(std::size_t disk, const ShuffleKey& key, Shuffle& shuffle,
                            PartitionId partition) {
  std::shared_ptr<Slot>& place = shuffle.slots[partition];
  if (!place) {
    place = std::make_shared<Slot>();
    place->disk = disk;
    return;
  }
  // A disk had failed, the partition was begun anew on another, and the disk is back. The one with
  // more blocks counts, the other goes.
  const auto index_on = [&](std::size_t on) {
    return fmt::format("{}/{}.index", directory(on, key), number(partition));
  };
  const auto size_on = [&](std::size_t on) {
    const auto info = io_.stat(index_on(on));
    return info ? info->size : 0;
  };
  const std::size_t loser = size_on(disk) > size_on(place->disk) ? place->disk : disk;
  place->disk = loser == disk ? place->disk : disk;
  const Status removed = io_.remove_file(index_on(loser));
  if (!removed) disks_.note(loser, removed.error());
}

void MergeStore::attach_strays() {
  for (const auto& [key, shuffle] : shuffles_) {
    const std::lock_guard lock(shuffle->mu);
    std::erase_if(shuffle->strays, [&](auto& stray) {
      const auto slot = shuffle->slots.find(stray.first);
      if (slot == shuffle->slots.end()) return false;
      slot->second->segments = std::move(stray.second);
      return true;
    });
  }
}

}  // namespace shufflefs::merge
