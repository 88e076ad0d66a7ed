#include "merge/merge_store.h"

#include <fmt/format.h>

#include <algorithm>

namespace shufflefs::merge {

MergeStore::MergeStore(FileIo& io, Trash& trash, Disks& disks, MergeStoreOptions options)
    : io_(io),
      trash_(trash),
      disks_(disks),
      options_(options),
      files_(io, options.open_files, options.held_bytes),
      index_copies_(std::make_shared<HeldBytes>(options.index_copies_bytes)) {}

std::string MergeStore::directory(std::size_t disk, const ShuffleKey& key) const {
  return fmt::format("{}/merged/{}/{}", disks_.path(disk), key.app.str(), number(key.shuffle));
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

uint32_t MergeStore::unused_segment(Shuffle& shuffle, PartitionId partition) {
  uint32_t last = 0;
  if (const auto strays = shuffle.strays.find(partition); strays != shuffle.strays.end())
    last = strays->second.rbegin()->first;
  if (const auto it = shuffle.slots.find(partition); it != shuffle.slots.end()) {
    const std::lock_guard lock(it->second->segments_mu);
    if (!it->second->segments.empty()) last = std::max(last, it->second->segments.rbegin()->first);
  }
  return last + 1;
}

Result<std::shared_ptr<MergeStore::Slot>> MergeStore::slot_for(const ShuffleKey& key,
                                                               Shuffle& shuffle,
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
  slot->first_segment = unused_segment(shuffle, partition);
  // Begun anew, so the copy on the failed disk counts no more: else it would name segments on other
  // disks that may have gone when that disk is back.
  if (it != shuffle.slots.end()) remove_later(key, partition, it->second->disk);
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
  const auto path_on = [&](std::size_t disk) {
    return fmt::format("{}/{}", directory(disk, key), number(partition));
  };
  {
    const std::lock_guard lock(slot.segments_mu);
    const auto it = slot.segments.find(segment);
    if (it != slot.segments.end()) return path_on(it->second);
  }
  // A partition that has outgrown a segment goes on on another disk. Without the lock: who holds
  // the shuffle's, which the directory takes, may want ours (unused_segment).
  std::size_t disk = slot.disk;
  const auto other = disks_.choose(uint64_t{number(partition)} + segment);
  if (other && make_directory(key, shuffle, *other)) disk = *other;
  const std::lock_guard lock(slot.segments_mu);
  return path_on(slot.segments.try_emplace(segment, disk).first->second);
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
    options.first_segment = slot->first_segment;
    options.verify = options_.verify;
    options.index_copies = index_copies_;
    options.has_room = [this, disk = slot->disk] { return !disks_.is_scarce(disk); };
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
        !place->partition->must_stay() && place->partition->flush()) {
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
    TRY_ASSIGN(const std::shared_ptr<Slot> slot, slot_for(key, *shuffle, partition));
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

void MergeStore::flush_idle() {
  for (const Error& error : files_.flush_idle()) {
    const std::size_t disk = disk_named_in(error, disks_.size());
    if (disk < disks_.size()) disks_.note(disk, error);
  }
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

}  // namespace shufflefs::merge
