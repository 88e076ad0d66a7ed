// All merged partitions of this node: <data>/merged/<app>/<shuffle>/<p>.{data,index} over the data
// disks.
//
// Threads: any; everything but the listings blocks on the disk. A drop excludes the appends to the
// same shuffle. Failure: a shuffle that was dropped is kDropped; a partition that is not here is
// kNotFound.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/file_io.h"
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

class MergeStore {
 public:
  MergeStore(FileIo& io, Trash& trash, std::vector<std::string> data_dirs);

  // Lists what is on the disks; partitions are verified when they are first used. Names that are
  // not ours are left alone and logged.
  [[nodiscard]] Status load();

  // A block for a partition of the shuffle. `is_current` is asked while drops are excluded; if it
  // says no, the shuffle has been dropped since the block was written (kDropped).
  struct Block {
    PartitionId partition{};
    MapId map{};
    uint32_t crc = 0;
    std::span<const std::byte> bytes;
    FileOwner owner{};  // of the map output; the directory on disk remembers it
  };
  [[nodiscard]] Result<MergedPartition::Appended> append(const ShuffleKey& key, const Block& block,
                                                         const std::function<bool()>& is_current);
  [[nodiscard]] Result<std::shared_ptr<MergedPartition>> find(const ShuffleKey& key,
                                                              PartitionId partition);
  // Whose the applications are that load() has found.
  [[nodiscard]] const std::map<AppId, FileOwner>& loaded_owners() const { return loaded_owners_; }
  [[nodiscard]] MergedTotals totals(const ShuffleKey& key);
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;
  [[nodiscard]] std::vector<PartitionId> partitions(const ShuffleKey& key) const;
  // The map output was removed at its origin: its blocks are taken out of the partitions' views.
  void forget(const ShuffleKey& key, MapId map);
  // Moves the shuffle's partitions into the trash. Fine if there are none.
  [[nodiscard]] Status drop(const ShuffleKey& key);

 private:
  struct Slot {  // a partition that is on disk, loaded at its first use
    std::size_t disk = 0;
    std::mutex mu;
    std::shared_ptr<MergedPartition> partition;  // GUARDED_BY(mu)
  };
  struct Shuffle {
    std::shared_mutex gone_mu;  // appends share it, the drop has it alone
    bool gone = false;          // GUARDED_BY(gone_mu)
    std::mutex mu;
    std::map<PartitionId, std::shared_ptr<Slot>> slots;  // GUARDED_BY(mu)
    std::atomic<uint64_t> duplicates{0};
  };
  [[nodiscard]] std::string directory(std::size_t disk, const ShuffleKey& key) const;
  [[nodiscard]] Status load_shuffle(std::size_t disk, const ShuffleKey& key);
  [[nodiscard]] std::shared_ptr<Shuffle> shuffle_of(const ShuffleKey& key, bool create);
  // `owner`: of a directory that may have to be made.
  [[nodiscard]] Result<std::shared_ptr<MergedPartition>> use(const ShuffleKey& key,
                                                             PartitionId partition, Slot& slot,
                                                             FileOwner owner = {});
  [[nodiscard]] Status make_directory(const std::string& place, FileOwner owner);

  FileIo& io_;
  Trash& trash_;
  const std::vector<std::string> data_dirs_;
  std::map<AppId, FileOwner> loaded_owners_;  // constant after load()
  mutable std::mutex mu_;
  std::map<ShuffleKey, std::shared_ptr<Shuffle>> shuffles_;  // GUARDED_BY(mu_)
};

}  // namespace shufflefs::merge
