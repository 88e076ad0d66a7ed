// The merged view of a partition: the blocks in the order of its index, without those whose commit
// is over. Of several commits of one map output the largest counts (docs/formats.md).
//
// Pure. Memory: 64 bytes for a block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "merge/node_api.h"
#include "merge/partition_index.h"

namespace shufflefs::merge {

class MergedView {
 public:
  struct Entry {
    IndexRecord record;
    uint64_t view_offset = 0;
  };
  MergedView() = default;
  explicit MergedView(const std::vector<IndexRecord>& records);

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // Is segment 0 the view, from its beginning?
  [[nodiscard]] bool gapless() const { return gapless_; }
  [[nodiscard]] std::vector<MergedBlock> blocks() const;
  // Where the bytes [offset, offset + length) of the view lie: runs within one segment, in order.
  // REQUIRES: they are within the view, length > 0.
  [[nodiscard]] std::vector<IndexRecord> runs(uint64_t offset, uint64_t length) const;

 private:
  std::vector<Entry> entries_;
  uint64_t bytes_ = 0;
  bool gapless_ = true;
};

}  // namespace shufflefs::merge
