#include "merge/merged_view.h"

#include <algorithm>
#include <unordered_map>

#include "base/hash.h"

namespace shufflefs::merge {

MergedView::MergedView(const std::vector<IndexRecord>& records) {
  std::vector<MapCommit> over;
  for (const IndexRecord& record : records) {
    if (record.removal) over.push_back({record.map, record.id});
  }
  std::ranges::sort(over);
  std::unordered_map<uint64_t, std::size_t, SeededHash> best;  // map id -> the record that counts
  best.reserve(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    const IndexRecord& record = records[i];
    if (record.removal || std::ranges::binary_search(over, MapCommit{record.map, record.id}))
      continue;
    const auto [it, is_first] = best.try_emplace(number(record.map), i);
    if (!is_first && record.id >= records[it->second].id) it->second = i;
  }
  entries_.reserve(best.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    const IndexRecord& record = records[i];
    const auto it = best.find(number(record.map));
    if (it == best.end() || it->second != i) continue;
    gapless_ = gapless_ && record.segment == 0 && record.offset == bytes_;
    entries_.push_back({record, bytes_});
    bytes_ += record.length;
  }
}

std::vector<MergedBlock> MergedView::blocks() const {
  std::vector<MergedBlock> blocks;
  blocks.reserve(entries_.size());
  for (const Entry& entry : entries_)
    blocks.push_back({entry.record.map, entry.record.id, entry.view_offset, entry.record.length,
                      entry.record.crc});
  return blocks;
}

std::vector<IndexRecord> MergedView::runs(uint64_t offset, uint64_t length) const {
  std::vector<IndexRecord> runs;
  auto entry = std::upper_bound(entries_.begin(), entries_.end(), offset,
                                [](uint64_t at, const Entry& e) { return at < e.view_offset; });
  --entry;
  uint64_t skip = offset - entry->view_offset;
  for (; length > 0; ++entry, skip = 0) {
    IndexRecord run = entry->record;
    run.offset += skip;
    run.length = std::min(run.length - skip, length);
    length -= run.length;
    if (!runs.empty() && runs.back().segment == run.segment &&
        runs.back().offset + runs.back().length == run.offset) {
      runs.back().length += run.length;
    } else {
      runs.push_back(run);
    }
  }
  return runs;
}

}  // namespace shufflefs::merge
