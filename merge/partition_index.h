// The index of a merged partition: a header and an append-only list of fixed-size records, one per
// merged block. Bytes: docs/formats.md. Each record carries its own checksum, so that a torn one is
// told from a written one; a record is written only after the bytes that it names.
//
// Pure functions over byte strings: no I/O, no state.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "merge/commit_id.h"

namespace shufflefs::merge {

inline constexpr std::size_t kIndexRecordBytes = 56;  // the header has the same size

struct IndexRecord {
  MapId map{};
  CommitId id{};
  uint64_t offset =
      0;  // within the segment's data file; within <p>.merged in the index that the mount shows
  uint64_t length = 0;   // > 0
  uint32_t segment = 0;  // <p>.data is segment 0, <p>.<n>.data segment n
  uint32_t crc = 0;      // crc32c of the block
  // This commit of the map output is over: its block is not in the view, wherever its record is.
  // Such a record names no bytes.
  bool removal = false;
  friend bool operator==(const IndexRecord&, const IndexRecord&) = default;
};

using IndexBytes = std::array<std::byte, kIndexRecordBytes>;
[[nodiscard]] IndexBytes encode_index_header(ShuffleId shuffle, PartitionId partition,
                                             uint64_t life);
[[nodiscard]] IndexBytes encode_index_record(const IndexRecord& record);

struct ParsedIndex {
  std::vector<IndexRecord> records;
  uint64_t valid_bytes = 0;  // header and whole, valid records: what follows is to be cut off
  std::string cut_reason;    // why something follows; empty if nothing does
};
// Reads records up to the first that is torn or wrong. An error only if the header is not that of
// this partition's index in this life of the shuffle's name.
[[nodiscard]] Result<ParsedIndex> parse_index(std::span<const std::byte> bytes, ShuffleId shuffle,
                                              PartitionId partition, uint64_t life,
                                              const std::string& name);

}  // namespace shufflefs::merge
