// One merged partition on this node's disk: the blocks' bytes, one after the other, in segment
// files, and the index that names them (docs/formats.md). The merged view is the blocks in index
// order; views only grow, so an earlier snapshot is always a prefix of a later one.
//
// Durability: like Spark's own shuffle files, nothing is fsynced; a block is visible once its
// record is written, and the record is written only after the bytes. load() cuts off what a crash
// left behind. Threads: safe; appends exclude each other. Cost: an append opens, writes and closes
// two files; a partition keeps about 40 bytes of memory for each block and no descriptor.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "base/file_io.h"
#include "base/seeded_hash.h"
#include "merge/node_api.h"
#include "merge/partition_index.h"

namespace shufflefs::merge {

class MergedPartition {
 public:
  // `base_path` is <data>/merged/<app>/<shuffle>/<p>; the directory exists.
  MergedPartition(FileIo& io, std::string base_path, ShuffleId shuffle, PartitionId partition);

  // Replays the index from disk, cuts off torn records and those beyond the data, and verifies the
  // last blocks. Nothing on disk is an empty partition. A broken header moves the files aside
  // (<p>.bad) and starts empty.
  [[nodiscard]] Status load();

  enum class Appended { kMerged, kDuplicate };
  // `bytes` have been checked against `crc`. After an error the block is not in the index; a hole
  // may remain.
  [[nodiscard]] Result<Appended> append(MapId map, uint32_t crc, std::span<const std::byte> bytes);

  // The map output was removed: its block is no longer in the view, and its map id may come again.
  // In memory only; on disk a later record of the same map id replaces the earlier one. (After a
  // restart the block of an output that was removed and never came again is back; whoever asks its
  // living origin leaves it out.) The one case in which a view does not only grow: open readers
  // notice by the checksums.
  void forget(MapId map);

  [[nodiscard]] std::vector<MergedBlock> view() const;
  [[nodiscard]] uint64_t blocks() const;
  [[nodiscard]] uint64_t bytes() const;
  // Fills `into` from `offset` of the view. kInvalidArgument beyond its end, kCorruptData if the
  // file is too short.
  [[nodiscard]] Status read(uint64_t offset, std::span<std::byte> into);

  // If the view is exactly `bytes` long and is one file from its beginning to its end: that file,
  // read-only. From then on the file does not grow; later blocks go into a further segment.
  [[nodiscard]] std::optional<Fd> seal_for_passthrough(uint64_t bytes);

 private:
  struct Entry {
    IndexRecord record;
    uint64_t view_offset = 0;
  };
  [[nodiscard]] std::string segment_path(uint32_t segment) const;
  [[nodiscard]] std::string index_path() const { return base_path_ + ".index"; }
  [[nodiscard]] Status write_record(const IndexRecord& record);  // REQUIRES: mu_ held
  [[nodiscard]] Status keep_valid(std::vector<IndexRecord> records, uint64_t index_bytes,
                                  std::string cut_reason);
  [[nodiscard]] bool last_bytes_match(const IndexRecord& record);
  void add_entry(const IndexRecord& record);  // REQUIRES: mu_ held
  void forget_entry(MapId map);               // REQUIRES: mu_ held

  FileIo& io_;
  const std::string base_path_;
  const ShuffleId shuffle_;
  const PartitionId partition_;

  mutable std::mutex mu_;
  // All GUARDED_BY(mu_):
  std::vector<Entry> entries_;
  std::unordered_set<uint64_t, SeededHash> maps_;
  uint32_t segment_ = 0;      // the one that grows
  uint64_t segment_end_ = 0;  // where its next block goes
  uint64_t view_bytes_ = 0;
  uint64_t index_end_ = 0;  // 0: the index file is not written yet
  bool gapless_ = true;     // segment 0 is the view
};

}  // namespace shufflefs::merge
