#include "merge/merge_store.h"

#include <fmt/format.h>

#include "base/log.h"

namespace shufflefs::merge {

namespace {

// Read through the mount, or not at all.
constexpr uint32_t kPrivateDirectory = 0700;

}  // namespace

MergeStore::MergeStore(FileIo& io, Trash& trash, std::vector<std::string> data_dirs)
    : io_(io), trash_(trash), data_dirs_(std::move(data_dirs)) {}

std::string MergeStore::directory(std::size_t disk, const ShuffleKey& key) const {
  return fmt::format("{}/merged/{}/{}", data_dirs_[disk], key.app.str(), number(key.shuffle));
}

Status MergeStore::load() {
  for (std::size_t disk = 0; disk < data_dirs_.size(); ++disk) {
    const std::string root = data_dirs_[disk] + "/merged";
    TRY(io_.make_directories(root));
    TRY(io_.set_mode(root, kPrivateDirectory));
    TRY_ASSIGN(const std::vector<DirectoryEntry> apps, io_.list(root));
    for (const DirectoryEntry& app_entry : apps) {
      const auto app = AppId::parse(app_entry.name);
      if (!app || !app_entry.is_directory) {
        log_warning("merge.foreign_name", {{"path", root + "/" + app_entry.name}});
        continue;
      }
      TRY_ASSIGN(const FileInfo info, io_.stat(root + "/" + app_entry.name));
      // Root's may be of before owners were remembered.
      if (info.uid != 0) loaded_owners_.try_emplace(*app, FileOwner{info.uid, info.gid});
      TRY_ASSIGN(const std::vector<DirectoryEntry> shuffles, io_.list(root + "/" + app_entry.name));
      for (const DirectoryEntry& entry : shuffles) {
        const auto shuffle = parse_shuffle_id(entry.name);
        if (shuffle && entry.is_directory) TRY(load_shuffle(disk, ShuffleKey{*app, *shuffle}));
      }
    }
  }
  return ok();
}

Status MergeStore::load_shuffle(std::size_t disk, const ShuffleKey& key) {
  TRY_ASSIGN(const std::vector<DirectoryEntry> files, io_.list(directory(disk, key)));
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, true);
  const std::lock_guard lock(shuffle->mu);
  for (const DirectoryEntry& file : files) {
    constexpr std::string_view kSuffix = ".index";
    const std::string_view name = file.name;
    if (!name.ends_with(kSuffix)) continue;
    const auto partition = parse_partition_id(name.substr(0, name.size() - kSuffix.size()));
    if (!partition) continue;
    auto slot = std::make_shared<Slot>();
    slot->disk = disk;
    shuffle->slots.emplace(*partition, std::move(slot));
  }
  return ok();
}

std::shared_ptr<MergeStore::Shuffle> MergeStore::shuffle_of(const ShuffleKey& key, bool create) {
  const std::lock_guard lock(mu_);
  const auto it = shuffles_.find(key);
  if (it != shuffles_.end()) return it->second;
  if (!create) return nullptr;
  return shuffles_.emplace(key, std::make_shared<Shuffle>()).first->second;
}

Result<std::shared_ptr<MergedPartition>> MergeStore::use(const ShuffleKey& key,
                                                         PartitionId partition, Slot& slot,
                                                         FileOwner owner) {
  const std::lock_guard lock(slot.mu);
  if (slot.partition) return slot.partition;
  const std::string place = directory(slot.disk, key);
  TRY(make_directory(place, owner));
  auto made = std::make_shared<MergedPartition>(io_, fmt::format("{}/{}", place, number(partition)),
                                                key.shuffle, partition);
  TRY(made->load());
  slot.partition = made;
  return made;
}

// The application's directory remembers whose it is over a restart.
Status MergeStore::make_directory(const std::string& place, FileOwner owner) {
  const std::string app = place.substr(0, place.rfind('/'));
  TRY(io_.make_directories(place));
  TRY_ASSIGN(const FileInfo info, io_.stat(app));
  return info.uid != owner.uid ? io_.set_owner(app, owner.uid, owner.gid) : ok();
}

Result<MergedPartition::Appended> MergeStore::append(const ShuffleKey& key, const Block& block,
                                                     const std::function<bool()>& is_current) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, true);
  const std::shared_lock not_gone(shuffle->gone_mu);
  if (shuffle->gone || !is_current())
    return make_error(Code::kDropped, fmt::format("shuffle {} has been dropped", to_string(key)));
  std::shared_ptr<Slot> slot;
  {
    const std::lock_guard lock(shuffle->mu);
    std::shared_ptr<Slot>& place = shuffle->slots[block.partition];
    if (!place) {
      place = std::make_shared<Slot>();
      place->disk = number(block.partition) % data_dirs_.size();
    }
    slot = place;
  }
  TRY_ASSIGN(const std::shared_ptr<MergedPartition> merged,
             use(key, block.partition, *slot, block.owner));
  auto appended = merged->append(block.map, block.crc, block.bytes);
  if (appended && *appended == MergedPartition::Appended::kDuplicate)
    shuffle->duplicates.fetch_add(1);
  return appended;
}

Result<std::shared_ptr<MergedPartition>> MergeStore::find(const ShuffleKey& key,
                                                          PartitionId partition) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  std::shared_ptr<Slot> slot;
  if (shuffle) {
    const std::lock_guard lock(shuffle->mu);
    const auto it = shuffle->slots.find(partition);
    if (it != shuffle->slots.end()) slot = it->second;
  }
  if (!slot) {
    return make_error(Code::kNotFound,
                      fmt::format("nothing is merged here of partition {} of shuffle {}",
                                  number(partition), to_string(key)));
  }
  return use(key, partition, *slot);
}

MergedTotals MergeStore::totals(const ShuffleKey& key) {
  MergedTotals totals;
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return totals;
  totals.duplicates = shuffle->duplicates.load();
  for (const PartitionId partition : partitions(key)) {
    const auto merged = find(key, partition);
    if (!merged || (*merged)->blocks() == 0) continue;
    ++totals.partitions;
    totals.blocks += (*merged)->blocks();
    totals.bytes += (*merged)->bytes();
    totals.partition_count = number(partition) + 1;
  }
  return totals;
}

std::vector<ShuffleKey> MergeStore::shuffles() const {
  const std::lock_guard lock(mu_);
  std::vector<ShuffleKey> keys;
  for (const auto& [key, shuffle] : shuffles_) {
    const std::lock_guard slots_lock(shuffle->mu);
    if (!shuffle->slots.empty()) keys.push_back(key);
  }
  return keys;
}

std::vector<PartitionId> MergeStore::partitions(const ShuffleKey& key) const {
  std::shared_ptr<Shuffle> shuffle;
  {
    const std::lock_guard lock(mu_);
    const auto it = shuffles_.find(key);
    if (it == shuffles_.end()) return {};
    shuffle = it->second;
  }
  const std::lock_guard lock(shuffle->mu);
  std::vector<PartitionId> partitions;
  partitions.reserve(shuffle->slots.size());
  for (const auto& [partition, slot] : shuffle->slots) partitions.push_back(partition);
  return partitions;
}

void MergeStore::forget(const ShuffleKey& key, MapId map) {
  for (const PartitionId partition : partitions(key)) {
    const auto merged = find(key, partition);
    if (merged) (*merged)->forget(map);
  }
}

Status MergeStore::drop(const ShuffleKey& key) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return ok();
  // Alone: appends under way have ended, and later ones make a new Shuffle in a new directory.
  const std::unique_lock alone(shuffle->gone_mu);
  shuffle->gone = true;
  for (std::size_t disk = 0; disk < data_dirs_.size(); ++disk) {
    const std::string place = directory(disk, key);
    TRY(trash_.discard(place));
    // The application's directory goes with its last shuffle; until then this fails, as it should.
    (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
  }
  const std::lock_guard lock(mu_);
  shuffles_.erase(key);
  return ok();
}

}  // namespace shufflefs::merge
