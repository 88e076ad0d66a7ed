#include "merge/merge_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {

namespace {

// Read through the mount, or not at all.
constexpr uint32_t kPrivateDirectory = 0700;

}  // namespace

MergeStore::MergeStore(FileIo& io, Trash& trash, Disks& disks, MergeStoreOptions options)
    : io_(io), trash_(trash), disks_(disks), options_(options), files_(io, options.open_files) {}

std::string MergeStore::directory(std::size_t disk, const ShuffleKey& key) const {
  return fmt::format("{}/merged/{}/{}", disks_.path(disk), key.app.str(), number(key.shuffle));
}

// ---- loading -------------------------------------------------------------------------------------------------------

Status MergeStore::load() {
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (!disks_.is_well(disk)) continue;
    const Status loaded = load_disk(disk);
    if (loaded) continue;
    if (disks_.size() == 1) return loaded;
    disks_.fail(disk, loaded.error().message);
  }
  attach_strays();
  return ok();
}

Status MergeStore::load_disk(std::size_t disk) {
  const std::string root = disks_.path(disk) + "/merged";
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
  return ok();
}

Status MergeStore::load_shuffle(std::size_t disk, const ShuffleKey& key) {
  if (options_.is_stale) {
    TRY_ASSIGN(const FileInfo info, io_.stat(directory(disk, key)));
    if (options_.is_stale(key, info.modified_ms)) return trash_.discard(directory(disk, key));
  }
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
  if (place) {
    // A disk had failed, the partition was begun anew on another, and the disk is back. The one
    // with more blocks counts.
    const auto size_on = [&](std::size_t on) {
      const auto info = io_.stat(fmt::format("{}/{}.index", directory(on, key), number(partition)));
      return info ? info->size : 0;
    };
    if (size_on(disk) <= size_on(place->disk)) return;
  }
  place = std::make_shared<Slot>();
  place->disk = disk;
}

void MergeStore::attach_strays() {
  for (const auto& [key, shuffle] : shuffles_) {
    const std::lock_guard lock(shuffle->mu);
    for (auto& [partition, segments] : shuffle->strays) {
      const auto slot = shuffle->slots.find(partition);
      if (slot != shuffle->slots.end()) slot->second->segments = std::move(segments);
    }
    shuffle->strays.clear();
  }
}

// ---- finding -------------------------------------------------------------------------------------------------------

std::shared_ptr<MergeStore::Shuffle> MergeStore::shuffle_of(const ShuffleKey& key, bool create) {
  const std::lock_guard lock(mu_);
  const auto it = shuffles_.find(key);
  if (it != shuffles_.end()) return it->second;
  if (!create) return nullptr;
  auto made = std::make_shared<Shuffle>();
  made->has_directory.resize(disks_.size(), false);
  return shuffles_.emplace(key, std::move(made)).first->second;
}

Result<std::shared_ptr<MergeStore::Slot>> MergeStore::slot_for(Shuffle& shuffle,
                                                               PartitionId partition) {
  const std::lock_guard lock(shuffle.mu);
  const auto it = shuffle.slots.find(partition);
  if (it != shuffle.slots.end() && disks_.takes_merged(it->second->disk)) return it->second;
  const bool is_full = it != shuffle.slots.end() && disks_.is_well(it->second->disk);
  const auto disk = disks_.choose(number(partition));
  if (is_full || !disk) {
    return make_error(Code::kNoSpace,
                      "no disk of this node has room for merged data above the reserve");
  }
  auto slot = std::make_shared<Slot>();
  slot->disk = *disk;
  shuffle.slots[partition] = slot;
  return slot;
}

Status MergeStore::make_directory(const ShuffleKey& key, Shuffle& shuffle, std::size_t disk) {
  const std::lock_guard lock(shuffle.mu);
  if (shuffle.has_directory[disk]) return ok();
  const std::string place = directory(disk, key);
  TRY(io_.make_directories(place));
  // The application's directory remembers whose it is over a restart.
  const std::string app = place.substr(0, place.rfind('/'));
  TRY_ASSIGN(const FileInfo info, io_.stat(app));
  if (shuffle.owner && info.uid != shuffle.owner->uid)
    TRY(io_.set_owner(app, shuffle.owner->uid, shuffle.owner->gid));
  shuffle.has_directory[disk] = true;
  return ok();
}

std::string MergeStore::place_segment(const ShuffleKey& key, Shuffle& shuffle,
                                      PartitionId partition, Slot& slot, uint32_t segment) {
  const std::lock_guard lock(slot.segments_mu);
  const auto [it, is_new] = slot.segments.try_emplace(segment, slot.disk);
  if (is_new) {
    // A partition that has outgrown a segment goes on on another disk.
    const auto other = disks_.choose(uint64_t{number(partition)} + segment);
    if (other && make_directory(key, shuffle, *other)) it->second = *other;
  }
  return fmt::format("{}/{}", directory(it->second, key), number(partition));
}

MergeStore::Found MergeStore::use(const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle,
                                  PartitionId partition, const std::shared_ptr<Slot>& slot) {
  slot->used = true;
  std::shared_ptr<MergedPartition> made;
  {
    const std::lock_guard lock(slot->mu);
    if (slot->partition) return slot->partition;
    TRY(make_directory(key, *shuffle, slot->disk));
    MergedPartitionOptions options;
    options.split_bytes = options_.split_bytes;
    options.verify = options_.verify;
    options.place_segment = [this, key, partition, weak_shuffle = std::weak_ptr(shuffle),
                             weak_slot = std::weak_ptr(slot)](uint32_t segment) {
      const auto its_shuffle = weak_shuffle.lock();
      const auto its_slot = weak_slot.lock();
      // Dropped meanwhile: whatever the answer, the file is not there.
      if (!its_shuffle || !its_slot) return std::string("/nonexistent");
      return place_segment(key, *its_shuffle, partition, *its_slot, segment);
    };
    made = std::make_shared<MergedPartition>(
        io_, files_, fmt::format("{}/{}", directory(slot->disk, key), number(partition)),
        key.shuffle, partition, std::move(options), shuffle->forgotten);
    TRY(made->load());
    slot->partition = made;
  }
  remember(slot, made->memory_bytes());
  return made;
}

// The clock algorithm: what was used since the hand passed last stays for another round.
void MergeStore::remember(const std::shared_ptr<Slot>& slot, std::size_t bytes) {
  std::vector<std::shared_ptr<MergedPartition>> leaving;  // destroyed outside of the locks
  const std::lock_guard lock(cache_mu_);
  cached_.push_back({slot, bytes});
  cached_bytes_ += bytes;
  for (std::size_t steps = 2 * cached_.size();
       steps > 0 && cached_bytes_ > options_.cache_bytes && cached_.size() > 1; --steps) {
    Cached entry = std::move(cached_.front());
    cached_.pop_front();
    cached_bytes_ -= entry.bytes;
    const auto place = entry.slot.lock();
    if (!place) continue;
    const std::unique_lock busy(place->mu, std::try_to_lock);
    if (busy && !place->partition) continue;
    // Nobody but the slot has it, and nobody can get it while we hold the lock.
    if (busy && !place->used.exchange(false) && place->partition.use_count() == 1 &&
        !place->partition->must_stay()) {
      leaving.push_back(std::move(place->partition));
      place->partition = nullptr;
      continue;
    }
    if (busy) entry.bytes = place->partition->memory_bytes();
    cached_bytes_ += entry.bytes;
    cached_.push_back(std::move(entry));
  }
}

MergeStore::Found MergeStore::find(const ShuffleKey& key, PartitionId partition) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  std::shared_ptr<Slot> slot;
  if (shuffle) {
    const std::lock_guard lock(shuffle->mu);
    const auto it = shuffle->slots.find(partition);
    // What is on a failed disk is not asked for.
    if (it != shuffle->slots.end() && disks_.is_well(it->second->disk)) slot = it->second;
  }
  if (!slot) {
    return make_error(Code::kNotFound,
                      fmt::format("nothing is merged here of partition {} of shuffle {}",
                                  number(partition), to_string(key)));
  }
  auto found = use(key, shuffle, partition, slot);
  if (!found) disks_.note(slot->disk, found.error());
  return found;
}

bool MergeStore::contains(const ShuffleKey& key, PartitionId partition, MapId map) {
  const auto merged = find(key, partition);
  return merged && (*merged)->contains(map);
}

// ---- appending -----------------------------------------------------------------------------------------------------

Result<MergedPartition::Appended> MergeStore::append(const ShuffleKey& key,
                                                     std::vector<Block> blocks,
                                                     const std::function<bool()>& is_current) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, true);
  const std::shared_lock not_gone(shuffle->gone_mu);
  if (shuffle->gone || !is_current())
    return make_error(Code::kDropped, fmt::format("shuffle {} has been dropped", to_string(key)));
  if (!blocks.empty()) {
    const std::lock_guard lock(shuffle->mu);
    shuffle->owner = blocks.front().owner;
  }
  // By partition, and within it as they came.
  std::ranges::sort(blocks, {}, [](const Block& block) {
    return std::pair(block.partition, block.bytes.data());
  });
  MergedPartition::Appended all;
  std::vector<MergedPartition::Block> together;
  for (auto at = blocks.begin(); at != blocks.end();) {
    const PartitionId partition = at->partition;
    together.clear();
    for (; at != blocks.end() && at->partition == partition; ++at)
      together.push_back({at->map, at->crc, at->bytes});
    TRY_ASSIGN(const auto counts, append_to(key, shuffle, partition, together));
    all.merged += counts.merged;
    all.duplicates += counts.duplicates;
    all.merged_bytes += counts.merged_bytes;
  }
  shuffle->duplicates.fetch_add(all.duplicates);
  shuffle->appends.fetch_add(1);
  return all;
}

Result<MergedPartition::Appended> MergeStore::append_to(
    const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle, PartitionId partition,
    std::span<const MergedPartition::Block> blocks) {
  while (true) {
    TRY_ASSIGN(const std::shared_ptr<Slot> slot, slot_for(*shuffle, partition));
    Error error;
    const auto merged = use(key, shuffle, partition, slot);
    if (merged) {
      auto counts = (*merged)->append(blocks);
      if (counts) {
        disks_.took(slot->disk, counts->merged_bytes);
        slot->blocks = (*merged)->blocks();
        slot->bytes = (*merged)->bytes();
        return counts;
      }
      error = counts.error();
    } else {
      error = merged.error();
    }
    const std::size_t disk = disk_named_in(error, slot->disk);
    disks_.note(disk, error);
    // Its disk has failed: the partition is begun anew on another one. Each round loses a disk.
    if (disk == slot->disk && !disks_.is_well(disk)) continue;
    if (!disks_.takes_merged(disk) || error.sys_errno == ENOSPC || error.sys_errno == EDQUOT)
      error.code = Code::kNoSpace;
    return error;
  }
}

std::size_t MergeStore::disk_named_in(const Error& error, std::size_t otherwise) const {
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) {
    if (error.message.find(disks_.path(disk) + "/") != std::string::npos) return disk;
  }
  return otherwise;
}

// ---- listings ------------------------------------------------------------------------------------------------------

void MergeStore::look_at_files(const ShuffleKey& key, PartitionId partition, Slot& slot) {
  const auto base = fmt::format("{}/{}", directory(slot.disk, key), number(partition));
  const auto index = io_.stat(base + ".index");
  const auto data = io_.stat(base + ".data");
  const uint64_t records = index ? index->size / kIndexRecordBytes : 0;
  slot.blocks = records > 0 ? records - 1 : 0;
  slot.bytes = data ? data->size : 0;
}

MergedTotals MergeStore::totals(const ShuffleKey& key) {
  MergedTotals totals;
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return totals;
  totals.duplicates = shuffle->duplicates.load();
  std::vector<std::pair<PartitionId, std::shared_ptr<Slot>>> slots;
  {
    const std::lock_guard lock(shuffle->mu);
    slots.assign(shuffle->slots.begin(), shuffle->slots.end());
  }
  for (const auto& [partition, slot] : slots) {
    std::shared_ptr<MergedPartition> merged;
    {
      const std::lock_guard lock(slot->mu);
      merged = slot->partition;
    }
    if (merged) {
      slot->blocks = merged->blocks();
      slot->bytes = merged->bytes();
    } else if (slot->blocks == kUnknown || slot->bytes == kUnknown) {
      look_at_files(key, partition, *slot);
    }
    if (slot->blocks == 0 || !disks_.is_well(slot->disk)) continue;
    ++totals.partitions;
    totals.blocks += slot->blocks;
    totals.bytes += slot->bytes;
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

std::vector<MergeStore::Use> MergeStore::uses() const {
  const std::lock_guard lock(mu_);
  std::vector<Use> uses;
  uses.reserve(shuffles_.size());
  for (const auto& [key, shuffle] : shuffles_) uses.push_back({key, shuffle->appends.load()});
  return uses;
}

// ---- removing ------------------------------------------------------------------------------------------------------

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
  const std::lock_guard lock(mu_);
  undone_drops_[disk].push_back(key);
}

void MergeStore::finish_drops(std::size_t disk) {
  std::vector<ShuffleKey> undone;
  {
    const std::lock_guard lock(mu_);
    undone = std::move(undone_drops_[disk]);
    undone_drops_.erase(disk);
  }
  for (const ShuffleKey& key : undone) {
    // A later life of the name has not been on this disk yet: it was away.
    const Status discarded = trash_.discard(directory(disk, key));
    if (discarded) continue;
    disks_.note(disk, discarded.error());
    drop_later(disk, key);
  }
}

bool MergeStore::evict(const ShuffleKey& key, std::size_t disk) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key, false);
  if (!shuffle) return false;
  std::vector<std::string> elsewhere;  // segments on other disks
  {
    const std::unique_lock alone(shuffle->gone_mu);
    if (shuffle->gone) return false;
    {
      const std::lock_guard lock(shuffle->mu);
      const std::size_t removed = std::erase_if(shuffle->slots, [&](const auto& entry) {
        const Slot& slot = *entry.second;
        if (slot.disk != disk) return false;
        for (const auto& [segment, on] : slot.segments) {
          if (on != disk)
            elsewhere.push_back(
                fmt::format("{}/{}.{}.data", directory(on, key), number(entry.first), segment));
        }
        return true;
      });
      if (removed == 0) return false;
      shuffle->has_directory[disk] = false;
      shuffle->gone = shuffle->slots.empty();
    }
    // Partitions of other disks that go on on this one lose those segments: they are read from
    // their origins, as anything that is gone.
    files_.forget_below(directory(disk, key));
    const Status removed = trash_.discard_now(directory(disk, key));
    if (!removed) disks_.note(disk, removed.error());
    if (shuffle->gone) {
      const std::lock_guard all(mu_);
      shuffles_.erase(key);
    }
  }
  for (const std::string& path : elsewhere) {
    files_.forget(path);
    (void)io_.remove_file(path);
  }
  const std::string place = directory(disk, key);
  (void)io_.remove_empty_directory(place.substr(0, place.rfind('/')));
  return true;
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
