// One merged partition on this node's disks: the blocks' bytes, one after the other, in segment
// files, and the index that names them (docs/formats.md). The merged view is the blocks in index
// order. While no commit ends, an earlier snapshot is a prefix of a later one.
//
// Appending: a writer reserves its place under the lock, writes its bytes without it, and is
// acknowledged when its records are in the index. Records are written in the order of the places,
// those of several writers in one piece; so the file is the view unless an append has failed.
//
// Durability: like Spark's own shuffle files, nothing is fsynced. The last page of data and index
// stays in memory until it is full or nothing comes for a while (base/tail_file.h): a killed
// process takes it with it, and the origins offer their blocks again (Pusher::offer_again). No
// record is written before the bytes that it names. load() cuts off what a crash left behind.
// Commits: a block is of a commit of its map output. Which one is current, and which are over, is
// known for all partitions of the shuffle together (shuffle_commits.h); what is over leaves the
// view when the partition is used next, with a record in the index.
//
// Threads: safe. Memory: a bit for each block (map_set.h) and a few hundred bytes. A copy of the
// index is kept of a partition that was begun in this life, as long as it is small and there is
// memory for it: reducers read it while the disks are busiest, and it saves each of them two seeks.
// Otherwise it is read again. The view is kept where it is not simply the file.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/open_files.h"
#include "merge/map_set.h"
#include "merge/merged_view.h"
#include "merge/node_api.h"
#include "merge/partition_index.h"
#include "merge/shuffle_commits.h"

namespace shufflefs::merge {

struct MergedPartitionOptions {
  uint64_t life = 0;  // of the shuffle's name
  // A block that would make a segment larger goes into a new one.
  uint64_t split_bytes = UINT64_MAX;
  // The number of the first one after segment 0: above those of an earlier copy of the partition,
  // which may still lie on some disk.
  uint32_t first_segment = 1;
  // Whether load() checks the last blocks against their checksums. Not needed if the machine has
  // not been restarted since they were written: what was written before their records is there.
  bool verify = true;
  // Whether there is room to preallocate; always if there is none.
  std::function<bool()> has_room = {};
  // What copies of indexes in memory may take together; none without it.
  std::shared_ptr<HeldBytes> index_copies = {};
  // The path of a further segment without ".<n>.data", e.g. on another disk; beside the index if
  // there is none. Asked again after a restart with the same answer for segments that exist. Only
  // with `begin` may it choose a place for one that does not.
  std::function<std::string(uint32_t segment, bool begin)> place_segment = {};
};

class MergedPartition {
 public:
  // `base_path` is <data>/merged/<app>/<shuffle>-<life>/<p>; the directory exists before the first
  // append. `commits` is that of the shuffle, null for one of its own; `files` outlives the
  // partition.
  MergedPartition(FileIo& io, OpenFiles& files, std::string base_path, ShuffleId shuffle,
                  PartitionId partition, MergedPartitionOptions options = {},
                  std::shared_ptr<ShuffleCommits> commits = nullptr);
  ~MergedPartition();
  MergedPartition(const MergedPartition&) = delete;
  MergedPartition& operator=(const MergedPartition&) = delete;

  // Replays the index from disk, removes torn records and those beyond the data, and verifies the
  // last blocks. Blocks of a segment that is not there are left out of the view, their records
  // stay. Nothing on disk is an empty partition. A broken header moves the files aside (<p>.bad)
  // and starts empty.
  [[nodiscard]] Status load();

  struct Block {
    MapId map{};
    CommitId id{};
    uint32_t crc = 0;
    std::span<const std::byte> bytes;  // not empty; have been checked against `crc`
  };
  struct Appended {
    uint32_t merged = 0;
    uint32_t duplicates = 0;
    uint32_t over = 0;  // not merged: their commits are over
    uint64_t merged_bytes = 0;
  };
  // A block of a later commit than the one in the view takes its place.
  // All or nothing. After an error no block is in the index; a hole may remain.
  [[nodiscard]] Result<Appended> append(std::span<const Block> blocks);

  [[nodiscard]] Result<std::vector<MergedBlock>> view();
  [[nodiscard]] bool contains(const MapCommit& block);
  [[nodiscard]] uint64_t blocks();
  [[nodiscard]] uint64_t bytes();
  // Fills `into` from `offset` of the view. kInvalidArgument beyond its end, kCorruptData if the
  // file is too short or is not there.
  [[nodiscard]] Status read(uint64_t offset, std::span<std::byte> into);

  // If the view is exactly `bytes` long and is one file from its beginning to its end: that file,
  // read-only. From then on the file does not grow; later blocks go into a further segment. Its
  // mode (read-only) says so to whoever takes over from a killed process, as the kernel goes on
  // reading.
  [[nodiscard]] std::optional<Fd> seal_for_passthrough(uint64_t bytes);

  // Writes what is only in memory. Until then a load() from the disk would not see all of it.
  [[nodiscard]] Status flush();
  // Gives back what was preallocated and not used.
  void trim();
  [[nodiscard]] std::size_t memory_bytes() const;
  // An append is under way.
  [[nodiscard]] bool is_busy() const;

 private:
  // An append under way. Settled in the order of the places.
  struct Turn {
    std::vector<IndexRecord> records;
    std::shared_ptr<TailFile> data;  // where their bytes are written to
    enum class State { kWriting, kWritten, kFailed, kSettled } state = State::kWriting;
    std::optional<Error> error;
  };

  [[nodiscard]] std::string segment_path(uint32_t segment, bool begin = false) const;
  [[nodiscard]] std::string index_path() const { return base_path_ + ".index"; }
  [[nodiscard]] bool bytes_match(const IndexRecord& record);
  // What load() has found of the records.
  struct Checked {
    std::vector<IndexRecord> records;  // without those whose bytes are wrong or cut off
    std::vector<std::size_t> missing;  // positions of those whose segment is not there
    bool is_sealed = false;            // segment 0
    bool is_prefix = true;             // what is left out were the last ones
    std::string reason;                // why something was left out
  };
  [[nodiscard]] Checked check(std::vector<IndexRecord> records);
  [[nodiscard]] std::vector<std::byte> encode_index(std::span<const IndexRecord> records) const;
  // What of the growing segment is to be allocated on the disk; nothing if it is empty.
  struct Allocation {
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  [[nodiscard]] Status write_bytes(Turn& turn, std::span<const std::span<const std::byte>> pieces,
                                   const Allocation& allocation);
  [[nodiscard]] Status keep(Checked checked, uint64_t index_bytes) REQUIRES(mu_);
  void learn(const std::vector<IndexRecord>& records) REQUIRES(mu_);
  void wait_for_turns_of(std::span<const Block> blocks) REQUIRES(mu_);
  [[nodiscard]] bool is_under_way(std::span<const Block> blocks) const REQUIRES(mu_);
  std::shared_ptr<Turn> reserve(std::span<const Block> blocks, Appended& counts,
                                std::vector<std::span<const std::byte>>& pieces) REQUIRES(mu_);
  void begin_segment() REQUIRES(mu_);
  [[nodiscard]] Allocation allocation_for(uint64_t end) REQUIRES(mu_);
  void settle_turns() REQUIRES(mu_);
  // `data` holds the bytes that they name.
  [[nodiscard]] Status write_records(std::span<const IndexRecord> records,
                                     std::span<const std::shared_ptr<TailFile>> data) REQUIRES(mu_);
  void keep_copy(std::span<const std::byte> written) REQUIRES(mu_);
  void add(std::span<const IndexRecord> records) REQUIRES(mu_);
  // Takes the blocks whose commits are over out of the view.
  void apply_ended() REQUIRES(mu_);
  void take_out(std::span<const MapCommit> over) REQUIRES(mu_);
  [[nodiscard]] Result<std::vector<IndexRecord>> read_records() REQUIRES(mu_);
  [[nodiscard]] Result<std::shared_ptr<const MergedView>> current_view() REQUIRES(mu_);
  void take_over(const MergedView& view) REQUIRES(mu_);

  FileIo& io_;
  OpenFiles& files_;
  const std::string base_path_;
  const ShuffleId shuffle_;
  const PartitionId partition_;
  const MergedPartitionOptions options_;
  const std::shared_ptr<ShuffleCommits> commits_;

  // Held over disk I/O, but not over that of an append's bytes. Under it only those of the files
  // and of commits_ are taken, and those that place_segment takes (merge_store.h).
  mutable Mutex mu_;
  CondVar settled_;
  // Of which map outputs there is a block in the view: of the commit that was current when
  // ended_until_ commits had ended.
  MapSet maps_ GUARDED_BY(mu_);
  uint64_t blocks_ GUARDED_BY(mu_) = 0;
  uint64_t view_bytes_ GUARDED_BY(mu_) = 0;
  bool gapless_ GUARDED_BY(mu_) = true;  // segment 0 is the view
  // Where it is not, once it was needed.
  std::shared_ptr<const MergedView> view_ GUARDED_BY(mu_);
  uint32_t segment_ GUARDED_BY(mu_) = 0;      // the one that grows
  uint64_t segment_end_ GUARDED_BY(mu_) = 0;  // where its next block goes
  uint64_t allocated_ GUARDED_BY(mu_) = 0;    // of that segment on the disk; at least its end
  uint64_t index_end_ GUARDED_BY(mu_) = 0;    // 0: the index file is not written yet
  std::vector<std::byte> index_copy_ GUARDED_BY(mu_);  // all of the index, or nothing
  std::vector<std::size_t> missing_ GUARDED_BY(mu_);   // Checked::missing, in their order
  std::vector<MapCommit> unwritten_ GUARDED_BY(mu_);   // removals that could not be written
  uint64_t ended_until_ GUARDED_BY(mu_) = 0;           // what of commits_ has been applied
  bool unflushed_ GUARDED_BY(mu_) = false;             // since flush()
  std::deque<std::shared_ptr<Turn>> turns_ GUARDED_BY(mu_);
  MapSet under_way_ GUARDED_BY(mu_);  // the map ids of turns_
};

}  // namespace shufflefs::merge
