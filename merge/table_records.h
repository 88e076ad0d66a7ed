// The records of a shuffle's log (merge/table_log.h): each is one event, or what is left of it.
//
// Pure functions, any thread. decode_record() refuses (kCorruptData) whatever encode_record() does
// not write, and allocates no more than a small multiple of its input.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "merge/map_output.h"
#include "merge/node_api.h"

namespace shufflefs::merge {

// A map output of this node. Its shuffle is that of the file.
struct CommittedRecord {
  MapOutput output;
};
// A map output of this node is over.
struct EndedRecord {
  MapId map{};
  uint64_t commit = 0;
  // Its files may still be there (they are Spark's, or on a disk that is away): they are not
  // committed again.
  bool files_remain = false;
};
// The files of a map output that is over have been removed.
struct FilesGoneRecord {
  uint64_t commit = 0;
};
// A map output of another node; AnnouncedMap without the shuffle.
struct HeardRecord {
  NodeName origin;
  AnnouncedMap announced;
};
// Map outputs of another node, or of this one (all of them), are over.
struct EndedAtRecord {
  NodeName origin;
  std::vector<CommitRange> ranges;
  std::vector<EndedMaps::Ended> maps;
};
// The name was dropped: a new life begins.
struct LifeRecord {
  uint64_t life = 0;
};

using TableRecord = std::variant<CommittedRecord, EndedRecord, FilesGoneRecord, HeardRecord,
                                 EndedAtRecord, LifeRecord>;

[[nodiscard]] std::vector<std::byte> encode_record(const TableRecord& record);
[[nodiscard]] Result<TableRecord> decode_record(std::span<const std::byte> bytes);

}  // namespace shufflefs::merge
