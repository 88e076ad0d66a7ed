// All merged partitions of this node: <data>/merged/<app>/<shuffle>-<life>/<p>.{data,index} over
// the data disks. Of each shuffle one life of its name at a time (node_api.h, drop): the largest
// that was heard of.
//
// Threads: any. shuffles(), partitions(), uses(), life(), forget() and forget_through() wait for no
// disk, nor for a lock that is held over one; everything else blocks on the disk. A drop excludes
// the appends to the same life. Failure: a life that is over is kDropped; a partition that is not
// here is kNotFound; kNoSpace if no disk takes it. Memory: about 150 bytes for a partition that is
// not in use; those in use (merged_partition.h) take at most `cache_bytes`, the least recently used
// ones are loaded again from their index when they are needed. And shuffle_commits.h.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "base/open_files.h"
#include "merge/disks.h"
#include "merge/merged_partition.h"
#include "merge/shuffle_commits.h"
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
  // The life of the shuffle's name that this node knows of: what is of an earlier one is over. Any
  // thread; calls nothing of the store, and takes no lock that is held over a call of it. 0 by
  // default.
  std::function<uint64_t(const ShuffleKey&)> life_of = {};
};

class MergeStore {
 public:
  MergeStore(FileIo& io, Trash& trash, Disks& disks, MergeStoreOptions options = {});

  // Lists what is on the disks; partitions are verified when they are first used. Of the lives of a
  // shuffle only the largest stays. Names that are not ours are left alone and logged. A disk that
  // cannot be listed is given up; what is merged on it is found when it is back.
  [[nodiscard]] Status load();

  struct Block {
    PartitionId partition{};
    MapId map{};
    CommitId id{};
    uint32_t crc = 0;
    std::span<const std::byte> bytes;
    FileOwner owner{};  // of the map output; the directory on disk remembers it
  };
  // Blocks of this life of the shuffle, any number for each partition, those of one partition in
  // one piece. A larger life than the one that is here ends that one first. `is_current` is asked
  // while drops are excluded; if it says no, the shuffle has been dropped since the blocks were
  // written (kDropped). kDropped too if the commit of a block is over: the others have been merged.
  // After another error some of them may have been merged.
  [[nodiscard]] Result<MergedPartition::Appended> append(const ShuffleKey& key, uint64_t life,
                                                         std::vector<Block> blocks,
                                                         const std::function<bool()>& is_current);
  [[nodiscard]] bool contains(const ShuffleKey& key, PartitionId partition, const MapCommit& block);
  // Of the current life.
  [[nodiscard]] Result<std::shared_ptr<MergedPartition>> find(const ShuffleKey& key,
                                                              PartitionId partition);
  // Whose the applications are that load() has found.
  [[nodiscard]] const std::map<AppId, FileOwner>& loaded_owners() const { return loaded_owners_; }
  // Of partitions that are not in use the numbers are those of the files' sizes.
  [[nodiscard]] MergedTotals totals(const ShuffleKey& key);
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;
  [[nodiscard]] std::vector<PartitionId> partitions(const ShuffleKey& key) const;
  // The current life of the shuffle's name.
  [[nodiscard]] uint64_t life(const ShuffleKey& key) const;
  // The commit was removed at its origin: its blocks are taken out of the partitions' views. Does
  // nothing for a shuffle that has never had anything here.
  void forget(const ShuffleKey& key, const MapCommit& commit);
  // So were all commits of the origin in the range, also those that will be pushed.
  void forget_range(const ShuffleKey& key, NodeTag origin, const CommitRange& range);
  // Ends all lives of the name below `life`: moves their partitions into the trash. Fine if there
  // are none. What cannot be moved is logged, tried again (drop_again), and hinders nobody.
  void drop(const ShuffleKey& key, uint64_t life);

  // ---- for the keeper of the disks -------------------------------------------------------------------------------
  struct Use {
    ShuffleKey shuffle;
    uint64_t appends = 0;  // since the start
  };
  [[nodiscard]] std::vector<Use> uses() const;
  // Removes the shuffle's partitions of the disk at once, past the trash. Whether there were any.
  [[nodiscard]] bool evict(const ShuffleKey& key, std::size_t disk) {
    return evict_if(key, disk, [] { return true; });
  }
  // The same of all disks, if the condition holds while no append is under way.
  [[nodiscard]] bool end_if(const ShuffleKey& key, const std::function<bool()>& condition);
  // The disk is back: removes what drops and evictions could not remove from it, and copies of
  // partitions that were begun anew elsewhere. If load() could not look: removes earlier lives,
  // and takes up what is of the current one. It is not to be used before this has worked.
  [[nodiscard]] Status finish_drops(std::size_t disk);
  // Tries once more what drops could not move on disks that are well.
  void drop_again();
  // Gives back what was preallocated for the shuffle and not used.
  void trim(const ShuffleKey& key);
  // Writes what is only in memory of partitions that did not grow since the last call.
  void flush_idle();
  // Everything; nothing that is appended later is held back.
  void stop_holding() { files_.stop_holding(); }

 private:
  static constexpr uint64_t kUnknown = UINT64_MAX;
  // The order of the locks: Shuffle::gone_mu, cache_mu_, Slot::mu, MergedPartition's, then mu_,
  // Shuffle::mu, Slot::segments_mu; undone_mu_, those of the files, the trash, the disks and of
  // ShuffleCommits are taken last and alone. mu_, Shuffle::mu, Slot::segments_mu and undone_mu_ are
  // never held over disk I/O.
  struct Slot {  // a partition that is on disk, loaded when it is used
    std::size_t disk = 0;
    uint32_t first_segment = 1;              // MergedPartitionOptions
    bool is_loaded = false;                  // from the disk, so all its segments are of this copy
    std::atomic<uint64_t> blocks{kUnknown};  // when they were last looked at
    std::atomic<uint64_t> bytes{kUnknown};
    std::atomic<bool> used{false};  // since the cache looked
    Mutex mu;                       // held over the loading, and what the cache writes
    std::shared_ptr<MergedPartition> partition GUARDED_BY(mu);
    Mutex segments_mu;
    std::map<uint32_t, std::size_t> segments GUARDED_BY(segments_mu);  // on which disk
  };
  using Slots = std::map<PartitionId, std::shared_ptr<Slot>>;
  struct Shuffle {  // one life of it
    explicit Shuffle(uint64_t number, std::size_t disks) : life(number), has_directory(disks) {}
    const uint64_t life;
    SharedMutex gone_mu;  // appends share it, a drop and an eviction have it alone
    bool gone GUARDED_BY(gone_mu) = false;
    Mutex mu ACQUIRED_AFTER(gone_mu);
    Slots slots GUARDED_BY(mu);
    std::optional<FileOwner> owner GUARDED_BY(mu);   // of its map outputs
    std::vector<bool> has_directory GUARDED_BY(mu);  // by disk
    // Segments whose index was not found, or that are not of the copy that counts: on which disk.
    std::map<PartitionId, std::map<uint32_t, std::size_t>> strays GUARDED_BY(mu);
    std::atomic<uint64_t> duplicates{0};
    std::atomic<uint64_t> appends{0};
    const std::shared_ptr<ShuffleCommits> commits = std::make_shared<ShuffleCommits>();
  };
  struct Life {
    ShuffleKey key;
    uint64_t life = 0;
  };
  // What a disk has of one life of a shuffle.
  struct Files {
    std::vector<PartitionId> indexes;
    std::vector<std::pair<PartitionId, uint32_t>> segments;
  };
  using Found = Result<std::shared_ptr<MergedPartition>>;
  [[nodiscard]] std::string directory(std::size_t disk, const Life& life) const;
  [[nodiscard]] std::string base_of(std::size_t disk, const Life& life,
                                    PartitionId partition) const;
  // load(): what is on the disk.
  [[nodiscard]] Status make_root(std::size_t disk);
  [[nodiscard]] Result<std::vector<Life>> lives_on(std::size_t disk) const;
  [[nodiscard]] Result<Files> files_on(std::size_t disk, const Life& life) const;
  using Largest = std::map<ShuffleKey, uint64_t>;  // life
  [[nodiscard]] Status load_disk(std::size_t disk, const std::vector<Life>& lives,
                                 const Largest& largest);
  [[nodiscard]] Status load_shuffle(std::size_t disk, const Life& life);
  // On which of the disks the partition's index is longer; that on the other goes.
  [[nodiscard]] std::size_t keep_longer(std::size_t one, std::size_t other, const Life& life,
                                        PartitionId partition);
  static void attach_strays(Shuffle& shuffle);
  [[nodiscard]] Status finish_load(std::size_t disk);
  void take_up(std::size_t disk, const Life& life, const Files& files);

  [[nodiscard]] uint64_t known_life(const ShuffleKey& key) const;
  [[nodiscard]] std::shared_ptr<Shuffle> shuffle_of(const ShuffleKey& key) const EXCLUDES(mu_);
  // Begins the life if it is a later one; null if it is over.
  [[nodiscard]] std::shared_ptr<Shuffle> enter(const ShuffleKey& key, uint64_t life) EXCLUDES(mu_);
  void end(const ShuffleKey& key, Shuffle& shuffle);
  void discard(std::size_t disk, const Life& life);
  [[nodiscard]] static uint32_t unused_segment(Shuffle& shuffle, PartitionId partition)
      REQUIRES(shuffle.mu);
  // The partition's place, a new one if there is none or its disk has failed.
  [[nodiscard]] Result<std::shared_ptr<Slot>> slot_for(const ShuffleKey& key, Shuffle& shuffle,
                                                       PartitionId partition);
  [[nodiscard]] Status make_directory(const ShuffleKey& key, Shuffle& shuffle, std::size_t disk);
  [[nodiscard]] Found use(const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle,
                          PartitionId partition, const std::shared_ptr<Slot>& slot);
  [[nodiscard]] std::string place_segment(const ShuffleKey& key, Shuffle& shuffle,
                                          PartitionId partition, Slot& slot, uint32_t segment,
                                          bool begin);
  [[nodiscard]] std::size_t disk_named_in(const Error& error, std::size_t otherwise) const;
  void look_at_files(const Life& life, PartitionId partition, Slot& slot);
  [[nodiscard]] Result<MergedPartition::Appended> append_to(
      const ShuffleKey& key, const std::shared_ptr<Shuffle>& shuffle, PartitionId partition,
      std::span<const MergedPartition::Block> blocks);
  [[nodiscard]] static Error over_error(const ShuffleKey& key, const ShuffleCommits& commits,
                                        const std::vector<Block>& blocks);
  void drop_later(std::size_t disk, std::string place);
  [[nodiscard]] Status discard_undone(std::size_t disk);
  void remove_later(const std::string& base, std::size_t disk);
  // Takes the partitions out that an eviction from the disk concerns, and adds their files on other
  // disks. Whether there were any.
  [[nodiscard]] bool take_out(const Life& life, Shuffle& shuffle, std::size_t disk,
                              std::vector<std::string>& elsewhere) REQUIRES(shuffle.mu);
  void list_files(const Life& life, PartitionId partition, const Slot& slot,
                  const std::map<uint32_t, std::size_t>& segments, std::size_t without,
                  std::vector<std::string>& files) const;
  [[nodiscard]] bool evict_if(const ShuffleKey& key, std::size_t disk,
                              const std::function<bool()>& condition);
  void remember(const std::shared_ptr<Slot>& slot, std::size_t bytes);

  FileIo& io_;
  Trash& trash_;
  Disks& disks_;
  const MergeStoreOptions options_;
  OpenFiles files_;
  const std::shared_ptr<HeldBytes> index_copies_;
  std::map<AppId, FileOwner> loaded_owners_;  // constant after load()
  mutable Mutex mu_;
  // A life that has ended is not among them.
  std::map<ShuffleKey, std::shared_ptr<Shuffle>> shuffles_ GUARDED_BY(mu_);
  // What has to go from a disk and could not: when it is back, or works again.
  struct Undone {
    bool unlisted = false;  // by load(): what is stale is still there
    std::vector<std::string> directories;
    std::vector<std::string> files;
  };
  Mutex undone_mu_;
  std::map<std::size_t, Undone> undone_ GUARDED_BY(undone_mu_);  // by disk
  struct Cached {
    std::weak_ptr<Slot> slot;
    std::size_t bytes = 0;
  };
  Mutex cache_mu_;
  std::list<Cached> cached_ GUARDED_BY(cache_mu_);  // a clock: the hand is at its front
  std::size_t cached_bytes_ GUARDED_BY(cache_mu_) = 0;
};

}  // namespace shufflefs::merge
