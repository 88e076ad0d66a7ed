// All merged partitions of this node: <data>/merged/<app>/<shuffle>/<p>.{data,index} over the data
// disks.
//
// Threads: any; everything but the listings blocks on the disk. A drop excludes the appends to the
// same shuffle. Failure: a shuffle that was dropped is kDropped; a partition that is not here is
// kNotFound; kNoSpace if no disk takes it. Memory: about 150 bytes for a partition that is not in
// use; those in use (merged_partition.h) take at most `cache_bytes`, the least recently used ones
// are loaded again from their index when they are needed.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/open_files.h"
#include "merge/disks.h"
#include "merge/forgotten_maps.h"
#include "merge/merged_partition.h"
#include "merge/trash.h"

namespace shufflefs::merge {

struct MergedTotals {
  uint64_t partitions = 0;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  uint64_t duplicates = 0;       // since the start
  uint32_t partition_count = 0;  // one above the largest partition
};

struct MergeStoreOptions {
  uint64_t cache_bytes = 16U << 20U;
  std::size_t open_files = 1024;
  uint64_t held_bytes = 8U << 20U;          // gathered before they are written (base/tail_file.h)
  uint64_t index_copies_bytes = 4U << 20U;  // MergedPartitionOptions::index_copies
  uint64_t split_bytes = UINT64_MAX;
  bool verify = true;  // MergedPartitionOptions::verify
  // Whether the shuffle has been dropped since its directory was changed last: what a disk still
  // has that was away when the shuffle was dropped. None by default.
  std::function<bool(const ShuffleKey&, uint64_t modified_ms)> is_stale = {};
};

class MergeStore {
 public:
  MergeStore(FileIo& io, Trash& trash, Disks& disks, MergeStoreOptions options = {});

  // Lists what is on the disks; partitions are verified when they are first used. Names that are
  // not ours are left alone and logged. A disk that cannot be listed is given up; what is merged on
  // it is found by the next start.
  [[nodiscard]] Status load();

  struct Block {
    PartitionId partition{};
    MapId map{};
    uint32_t crc = 0;
    std::span<const std::byte> bytes;
    FileOwner owner{};  // of the map output; the directory on disk remembers it
  };
  // Blocks of the shuffle, any number for each partition, those of one partition in one piece.
  // `is_current` is asked while drops are excluded; if it says no, the shuffle has been dropped
  // since the blocks were written (kDropped). After an error some of them may have been merged.
  [[nodiscard]] Result<MergedPartition::Appended> append(const ShuffleKey& key,
                                                         std::vector<Block> blocks,
                                                         const std::function<bool()>& is_current);
  [[nodiscard]] bool contains(const ShuffleKey& key, PartitionId partition, MapId map);
  [[nodiscard]] Result<std::shared_ptr<MergedPartition>> find(const ShuffleKey& key,
                                                              PartitionId partition);
  // Whose the applications are that load() has found.
  [[nodiscard]] const std::map<AppId, FileOwner>& loaded_owners() const { return loaded_owners_; }
  // Of partitions that are not in use the numbers are those of the files' sizes.
  [[nodiscard]] MergedTotals totals(const ShuffleKey& key);
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;
  [[nodiscard]] std::vector<PartitionId> partitions(const ShuffleKey& key) const;
  // The map output was removed at its origin: its blocks are taken out of the partitions' views.
  void forget(const ShuffleKey& key, MapId map);
  // Moves the shuffle's partitions into the trash. Fine if there are none.
  [[nodiscard]] Status drop(const ShuffleKey& key);

  // ---- for the keeper of the disks -------------------------------------------------------------------------------
  struct Use {
    ShuffleKey shuffle;
    uint64_t appends = 0;  // since the start
  };
  [[nodiscard]] std::vector<Use> uses() const;
  // Removes the shuffle's partitions of the disk at once, past the trash. Whether there were any.
  [[nodiscard]] bool evict(const ShuffleKey& key, std::size_t disk);
  // The disk is back: removes what drops and evictions could not remove from it, copies of
  // partitions that were begun anew elsewhere, and what is stale if load() could not look. It is
  // not to be used before this has worked.
  [[nodiscard]] Status finish_drops(std::size_t disk);
  // Gives back what was preallocated for the shuffle and not used.
  void trim(const ShuffleKey& key);
  // Writes what is only in memory of partitions that did not grow since the last call.
  void flush_idle();
  // Everything; nothing that is appended later is held back.
  void stop_holding() { files_.stop_holding(); }

 private:
  static constexpr uint64_t kUnknown = UINT64_MAX;
  struct Slot {  // a partition that is on disk, loaded when it is used
    std::size_t disk = 0;
    uint32_t first_segment = 1;              // MergedPartitionOptions
    std::atomic<uint64_t> blocks{kUnknown};  // when they were last looked at
    std::atomic<uint64_t> bytes{kUnknown};
    std::atomic<bool> used{false};  // since the cache looked
    std::mutex mu;
    std::shared_ptr<MergedPartition> partition;  // GUARDED_BY(mu)
    std::mutex segments_mu;
    std::map<uint32_t, std::size_t> segments;  // on which disk; GUARDED_BY(segments_mu)
  };
  struct Shuffle {
    std::shared_mutex gone_mu;  // appends share it, the drop has it alone
    bool gone = false;          // GUARDED_BY(gone_mu)
    std::mutex mu;
    std::map<PartitionId, std::shared_ptr<Slot>> slots;  // GUARDED_BY(mu)
    std::optional<FileOwner> owner;                      // of its map outputs; GUARDED_BY(mu)
    std::vector<bool> has_directory;                     // by disk; GUARDED_BY(mu)
    // Segments whose index was not found, by number: on which disk. GUARDED_BY(mu)
    std::map<PartitionId, std::map<uint32_t, std::size_t>> strays;
    std::atomic<uint64_t> duplicates{0};
    std::atomic<uint64_t> appends{0};
    const std::shared_ptr<ForgottenMaps> forgotten = std::make_shared<ForgottenMaps>();
  };
  using Found = Result<std::shared_ptr<MergedPartition>>;
  [[nodiscard]] std::string directory(std::size_t disk, const ShuffleKey& key) const;
  [[nodiscard]] Status make_root(std::size_t disk);
  [[nodiscard]] Result<std::vector<ShuffleKey>> shuffles_on(std::size_t disk) const;
  // Whether it was.
  [[nodiscard]] Result<bool> discard_stale(std::size_t disk, const ShuffleKey& key);
  [[nodiscard]] Status load_disk(std::size_t disk);
  [[nodiscard]] Status load_shuffle(std::size_t disk, const ShuffleKey& key);
  // Both REQUIRE shuffle.mu held:
  [[nodiscard]] static uint32_t unused_segment(Shuffle& shuffle, PartitionId partition);
  void load_index(std::size_t disk, const ShuffleKey& key, Shuffle& shuffle, PartitionId partition);
  void attach_strays();
  [[nodiscard]] std::shared_ptr<Shuffle> shuffle_of(const ShuffleKey& key, bool create);
  // The partition's place, a new one if there is none or its disk has failed.
  [[nodiscard]] Result<std::shared_ptr<Slot>> slot_for(const ShuffleKey& key, Shuffle& shuffle,
                                                       PartitionId partition);
  [[nodiscard]] Status make_directory(const ShuffleKey& key, Shuffle& shuffle, std::size_t disk);
  [[nodiscard]] Found use(const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle,
                          PartitionId partition, const std::shared_ptr<Slot>& slot);
  [[nodiscard]] std::string place_segment(const ShuffleKey& key, Shuffle& shuffle,
                                          PartitionId partition, Slot& slot, uint32_t segment);
  [[nodiscard]] std::size_t disk_named_in(const Error& error, std::size_t otherwise) const;
  void look_at_files(const ShuffleKey& key, PartitionId partition, Slot& slot);
  [[nodiscard]] Result<MergedPartition::Appended> append_to(
      const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle, PartitionId partition,
      std::span<const MergedPartition::Block> blocks);
  void drop_later(std::size_t disk, const ShuffleKey& key);
  [[nodiscard]] Status finish_load(std::size_t disk);
  void remove_later(const ShuffleKey& key, PartitionId partition, std::size_t disk);
  // Adds the partition's files on other disks than `without`. REQUIRES: no append is under way.
  void list_files(const ShuffleKey& key, PartitionId partition, const Slot& slot,
                  std::size_t without, std::vector<std::string>& files) const;
  void remember(const std::shared_ptr<Slot>& slot, std::size_t bytes);

  FileIo& io_;
  Trash& trash_;
  Disks& disks_;
  const MergeStoreOptions options_;
  OpenFiles files_;
  const std::shared_ptr<HeldBytes> index_copies_;
  std::map<AppId, FileOwner> loaded_owners_;  // constant after load()
  mutable std::mutex mu_;
  std::map<ShuffleKey, std::shared_ptr<Shuffle>> shuffles_;  // GUARDED_BY(mu_)
  std::mutex undone_mu_;  // no other is taken under it but that of files_
  // What has to go from a failed disk when it is back.
  struct Undone {
    bool unlisted = false;  // by load(): what is stale is still there
    std::vector<ShuffleKey> shuffles;
    std::vector<std::string> files;
  };
  std::map<std::size_t, Undone> undone_;  // by disk; GUARDED_BY(undone_mu_)
  struct Cached {
    std::weak_ptr<Slot> slot;
    std::size_t bytes = 0;
  };
  std::mutex cache_mu_;
  std::list<Cached> cached_;      // GUARDED_BY(cache_mu_); a clock: the hand is at its front
  std::size_t cached_bytes_ = 0;  // GUARDED_BY(cache_mu_)
};

}  // namespace shufflefs::merge
