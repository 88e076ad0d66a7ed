#include "merge/merge_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shufflefs::merge {

MergeStore::MergeStore(FileIo& io, Trash& trash, Disks& disks, MergeStoreOptions options)
    : io_(io),
      trash_(trash),
      disks_(disks),
      options_(options),
      files_(io, options.open_files, options.held_bytes),
      index_copies_(std::make_shared<HeldBytes>(options.index_copies_bytes)) {}

std::string MergeStore::directory(std::size_t disk, const Life& life) const {
  return fmt::format("{}/merged/{}/{}-{}", disks_.path(disk), life.key.app.str(),
                     number(life.key.shuffle), life.life);
}

std::string MergeStore::base_of(std::size_t disk, const Life& life, PartitionId partition) const {
  return fmt::format("{}/{}", directory(disk, life), number(partition));
}

// ---- lives ---------------------------------------------------------------------------------------------------------

uint64_t MergeStore::known_life(const ShuffleKey& key) const {
  return options_.life_of ? options_.life_of(key) : 0;
}

uint64_t MergeStore::life(const ShuffleKey& key) const {
  const uint64_t known = known_life(key);
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  return shuffle ? std::max(known, shuffle->life) : known;
}

std::shared_ptr<MergeStore::Shuffle> MergeStore::shuffle_of(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  const auto it = shuffles_.find(key);
  return it == shuffles_.end() ? nullptr : it->second;
}

std::shared_ptr<MergeStore::Shuffle> MergeStore::enter(const ShuffleKey& key, uint64_t life) {
  if (life < known_life(key)) return nullptr;
  std::shared_ptr<Shuffle> entered;
  std::shared_ptr<Shuffle> earlier;
  {
    const MutexLock lock(mu_);
    std::shared_ptr<Shuffle>& place = shuffles_[key];
    if (place && place->life > life) return nullptr;
    if (!place || place->life < life)
      earlier = std::exchange(place, std::make_shared<Shuffle>(life, disks_.size()));
    entered = place;
  }
  if (earlier) end(key, *earlier);
  return entered;
}

// ---- finding -------------------------------------------------------------------------------------------------------

uint32_t MergeStore::unused_segment(Shuffle& shuffle, PartitionId partition) {
  uint32_t last = 0;
  if (const auto strays = shuffle.strays.find(partition); strays != shuffle.strays.end())
    last = strays->second.rbegin()->first;
  if (const auto it = shuffle.slots.find(partition); it != shuffle.slots.end()) {
    Slot& slot = *it->second;
    const MutexLock lock(slot.segments_mu);
    if (!slot.segments.empty()) last = std::max(last, slot.segments.rbegin()->first);
  }
  return last + 1;
}

Result<std::shared_ptr<MergeStore::Slot>> MergeStore::slot_for(const ShuffleKey& key,
                                                               Shuffle& shuffle,
                                                               PartitionId partition) {
  auto slot = std::make_shared<Slot>();
  std::shared_ptr<Slot> replaced;
  {
    const MutexLock lock(shuffle.mu);
    const auto it = shuffle.slots.find(partition);
    if (it != shuffle.slots.end()) replaced = it->second;
    if (replaced && disks_.takes_merged(replaced->disk)) return replaced;
    const bool is_full = replaced && disks_.is_well(replaced->disk);
    const auto disk = disks_.choose(number(partition));
    if (is_full || !disk) {
      return make_error(Code::kNoSpace,
                        "no disk of this node has room for merged data above the reserve");
    }
    slot->disk = *disk;
    slot->first_segment = unused_segment(shuffle, partition);
    shuffle.slots[partition] = slot;
  }
  // Begun anew, so the copy on the failed disk counts no more: else it would name segments on other
  // disks that may have gone when that disk is back.
  if (replaced)
    remove_later(base_of(replaced->disk, {key, shuffle.life}, partition), replaced->disk);
  return slot;
}

Status MergeStore::make_directory(const ShuffleKey& key, Shuffle& shuffle, std::size_t disk) {
  std::optional<FileOwner> owner;
  {
    const MutexLock lock(shuffle.mu);
    if (shuffle.has_directory[disk]) return ok();
    owner = shuffle.owner;
  }
  const std::string place = directory(disk, {key, shuffle.life});
  TRY(io_.make_directories(place));
  // The application's directory remembers whose it is over a restart.
  const std::string app = place.substr(0, place.rfind('/'));
  TRY_ASSIGN(const FileInfo info, io_.stat(app));
  if (owner && info.uid != owner->uid) TRY(io_.set_owner(app, owner->uid, owner->gid));
  const MutexLock lock(shuffle.mu);
  shuffle.has_directory[disk] = true;
  return ok();
}

std::string MergeStore::place_segment(const ShuffleKey& key, Shuffle& shuffle,
                                      PartitionId partition, Slot& slot, uint32_t segment,
                                      bool begin) {
  const auto path_on = [&](std::size_t disk) {
    return base_of(disk, {key, shuffle.life}, partition);
  };
  {
    const MutexLock lock(slot.segments_mu);
    const auto it = slot.segments.find(segment);
    if (it != slot.segments.end()) return path_on(it->second);
  }
  if (!begin) return path_on(slot.disk);  // where it is not
  // A partition that has outgrown a segment goes on on another disk, but not where one of an
  // earlier copy has this number.
  std::size_t disk = slot.disk;
  auto other = disks_.choose(uint64_t{number(partition)} + segment);
  {
    const MutexLock lock(shuffle.mu);
    const auto strays = shuffle.strays.find(partition);
    if (strays != shuffle.strays.end()) {
      const auto stray = strays->second.find(segment);
      if (stray != strays->second.end() && stray->second == other) other.reset();
    }
  }
  if (other && make_directory(key, shuffle, *other)) disk = *other;
  const MutexLock lock(slot.segments_mu);
  return path_on(slot.segments.try_emplace(segment, disk).first->second);
}

MergeStore::Found MergeStore::use(const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle,
                                  PartitionId partition, const std::shared_ptr<Slot>& slot) {
  slot->used = true;
  std::shared_ptr<MergedPartition> made;
  {
    const MutexLock lock(slot->mu);
    if (slot->partition) return slot->partition;
    MergedPartitionOptions options;
    options.life = shuffle->life;
    options.split_bytes = options_.split_bytes;
    options.first_segment = slot->first_segment;
    options.verify = options_.verify;
    options.index_copies = index_copies_;
    options.has_room = [this, disk = slot->disk] { return !disks_.is_scarce(disk); };
    options.place_segment = [this, key, partition, weak_shuffle = std::weak_ptr(shuffle),
                             weak_slot = std::weak_ptr(slot)](uint32_t segment, bool begin) {
      const auto its_shuffle = weak_shuffle.lock();
      const auto its_slot = weak_slot.lock();
      // Dropped meanwhile: whatever the answer, the file is not there.
      if (!its_shuffle || !its_slot) return std::string("/nonexistent");
      return place_segment(key, *its_shuffle, partition, *its_slot, segment, begin);
    };
    made = std::make_shared<MergedPartition>(
        io_, files_, base_of(slot->disk, {key, shuffle->life}, partition), key.shuffle, partition,
        std::move(options), shuffle->commits);
    TRY(made->load());
    slot->partition = made;
  }
  remember(slot, made->memory_bytes());
  return made;
}

// The clock algorithm: what was used since the hand passed last stays for another round.
void MergeStore::remember(const std::shared_ptr<Slot>& slot, std::size_t bytes) {
  std::vector<std::shared_ptr<MergedPartition>> leaving;  // destroyed outside of the locks
  const MutexLock lock(cache_mu_);
  cached_.push_back({slot, bytes});
  cached_bytes_ += bytes;
  for (std::size_t steps = 2 * cached_.size();
       steps > 0 && cached_bytes_ > options_.cache_bytes && cached_.size() > 1; --steps) {
    Cached entry = std::move(cached_.front());
    cached_.pop_front();
    cached_bytes_ -= entry.bytes;
    const auto place = entry.slot.lock();
    if (!place) continue;
    if (place->mu.try_lock()) {
      const MutexLock busy(place->mu, std::adopt_lock);
      if (!place->partition) continue;
      // Nobody but the slot has it, and nobody can get it while we hold the lock.
      if (!place->used.exchange(false) && place->partition.use_count() == 1 &&
          !place->partition->is_busy() && place->partition->flush()) {
        leaving.push_back(std::move(place->partition));
        place->partition = nullptr;
        continue;
      }
      entry.bytes = place->partition->memory_bytes();
    }
    cached_bytes_ += entry.bytes;
    cached_.push_back(std::move(entry));
  }
}

MergeStore::Found MergeStore::find(const ShuffleKey& key, PartitionId partition) {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  std::shared_ptr<Slot> slot;
  if (shuffle && shuffle->life >= known_life(key)) {
    const MutexLock lock(shuffle->mu);
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
  if (!found) disks_.note(disk_named_in(found.error(), slot->disk), found.error());
  return found;
}

bool MergeStore::contains(const ShuffleKey& key, PartitionId partition, const MapCommit& block) {
  const auto merged = find(key, partition);
  return merged && (*merged)->contains(block);
}

// ---- appending -----------------------------------------------------------------------------------------------------

Result<MergedPartition::Appended> MergeStore::append(const ShuffleKey& key, uint64_t life,
                                                     std::vector<Block> blocks,
                                                     const std::function<bool()>& is_current) {
  const auto dropped = [&] {
    return make_error(Code::kDropped, fmt::format("shuffle {} has been dropped", to_string(key)));
  };
  const std::shared_ptr<Shuffle> shuffle = enter(key, life);
  if (!shuffle) return dropped();
  const SharedLock not_gone(shuffle->gone_mu);
  if (shuffle->gone || !is_current()) return dropped();
  if (!blocks.empty()) {
    const MutexLock lock(shuffle->mu);
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
      together.push_back({at->map, at->id, at->crc, at->bytes});
    TRY_ASSIGN(const auto counts, append_to(key, shuffle, partition, together));
    all.merged += counts.merged;
    all.duplicates += counts.duplicates;
    all.over += counts.over;
    all.merged_bytes += counts.merged_bytes;
  }
  shuffle->duplicates.fetch_add(all.duplicates);
  shuffle->appends.fetch_add(1);
  if (all.over > 0) return over_error(key, *shuffle->commits, blocks);
  return all;
}

Error MergeStore::over_error(const ShuffleKey& key, const ShuffleCommits& commits,
                             const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    const Standing standing = commits.standing({block.map, block.id});
    if (standing == Standing::kCurrent) continue;
    return make_error(
        Code::kDropped,
        fmt::format("map {} of shuffle {} has been {}", number(block.map), to_string(key),
                    standing == Standing::kReplaced ? "replaced by a later commit" : "removed"));
  }
  return make_error(Code::kInternal, "a block was over and is current again");
}

Result<MergedPartition::Appended> MergeStore::append_to(
    const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle, PartitionId partition,
    std::span<const MergedPartition::Block> blocks) {
  while (true) {
    TRY_ASSIGN(const std::shared_ptr<Slot> slot, slot_for(key, *shuffle, partition));
    Error error;
    const Status has_place = make_directory(key, *shuffle, slot->disk);
    const auto merged = has_place ? use(key, shuffle, partition, slot) : Found(has_place.error());
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

void MergeStore::look_at_files(const Life& life, PartitionId partition, Slot& slot) {
  const std::string base = base_of(slot.disk, life, partition);
  const auto index = io_.stat(base + ".index");
  const auto data = io_.stat(base + ".data");
  const uint64_t records = index ? index->size / kIndexRecordBytes : 0;
  slot.blocks = records > 0 ? records - 1 : 0;
  slot.bytes = data ? data->size : 0;
}

MergedTotals MergeStore::totals(const ShuffleKey& key) {
  MergedTotals totals;
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  if (!shuffle) return totals;
  totals.duplicates = shuffle->duplicates.load();
  std::vector<std::pair<PartitionId, std::shared_ptr<Slot>>> slots;
  {
    const MutexLock lock(shuffle->mu);
    slots.assign(shuffle->slots.begin(), shuffle->slots.end());
  }
  for (const auto& [partition, slot] : slots) {
    std::shared_ptr<MergedPartition> merged;
    {
      const MutexLock lock(slot->mu);
      merged = slot->partition;
    }
    if (merged) {
      slot->blocks = merged->blocks();
      slot->bytes = merged->bytes();
    } else if (slot->blocks == kUnknown || slot->bytes == kUnknown) {
      look_at_files({key, shuffle->life}, partition, *slot);
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
  std::vector<ShuffleKey> keys;
  for (Use& use : uses()) keys.push_back(std::move(use.shuffle));
  return keys;
}

std::vector<PartitionId> MergeStore::partitions(const ShuffleKey& key) const {
  const std::shared_ptr<Shuffle> shuffle = shuffle_of(key);
  if (!shuffle) return {};
  const MutexLock lock(shuffle->mu);
  std::vector<PartitionId> partitions;
  partitions.reserve(shuffle->slots.size());
  for (const auto& [partition, slot] : shuffle->slots) partitions.push_back(partition);
  return partitions;
}

std::vector<MergeStore::Use> MergeStore::uses() const {
  const MutexLock lock(mu_);
  std::vector<Use> uses;
  for (const auto& [key, shuffle] : shuffles_) {
    const MutexLock slots_lock(shuffle->mu);
    if (!shuffle->slots.empty()) uses.push_back({key, shuffle->appends.load()});
  }
  return uses;
}

}  // namespace shufflefs::merge
