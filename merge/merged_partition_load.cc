// Replaying a merged partition's index after a start; the contract is in merge/merged_partition.h.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/crc32c.h"
#include "base/log.h"
#include "merge/merged_partition.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kLargestIndex = uint64_t{1} << 30U;  // 26 million blocks of one partition
// Blocks are verified from the end of the file backwards over at least so many bytes: more than one
// append can tear.
constexpr uint64_t kVerifyBytes = 4U << 20U;

}  // namespace

Status MergedPartition::load() {
  const Lock lock(mu_);
  const auto bytes = read_file(io_, index_path(), kLargestIndex);
  if (!bytes && bytes.error().code == Code::kNotFound) return ok();
  if (!bytes) return bytes.error();
  auto parsed = parse_index(*bytes, shuffle_, partition_, index_path());
  if (!parsed) {
    log_warning("merge.index_unreadable", {{"file", index_path()},
                                           {"shuffle", number(shuffle_)},
                                           {"partition", number(partition_)},
                                           {"reason", parsed.error().message}});
    TRY(io_.rename(index_path(), index_path() + ".bad"));
    return io_.remove_file(segment_path(0));
  }
  const bool cut = !parsed->cut_reason.empty();
  TRY(keep_valid(std::move(parsed->records), cut ? parsed->valid_bytes : bytes->size(),
                 std::move(parsed->cut_reason)));
  return ok();
}

// Is the file long enough to hold the block?
bool MergedPartition::reaches(const IndexRecord& record) {
  const auto info = io_.stat(segment_path(record.segment));
  return info && info->size >= record.offset + record.length;
}

bool MergedPartition::last_bytes_match(const IndexRecord& record) {
  const auto file = io_.open(segment_path(record.segment), OpenMode::kRead);
  if (!file) return false;
  std::vector<std::byte> piece(std::min<uint64_t>(record.length, 1U << 20U));
  uint32_t crc = 0;
  for (uint64_t done = 0; done < record.length;) {
    const std::span<std::byte> into(piece.data(),
                                    std::min<uint64_t>(piece.size(), record.length - done));
    const auto n = (*file)->read_at(record.offset + done, into);
    if (!n || *n != into.size()) return false;
    crc = crc32c(crc, into);
    done += *n;
  }
  return crc == record.crc;
}

Status MergedPartition::keep_valid(std::vector<IndexRecord> records, uint64_t index_bytes,
                                   std::string cut_reason) {
  // The last records may name bytes that never reached the file. Verify backwards until enough is
  // known to be good.
  const auto last = std::ranges::find_if(records.rbegin(), records.rend(),
                                         [](const IndexRecord& record) { return !record.removal; });
  const bool plausible = last == records.rend() || reaches(*last);
  uint64_t verified = options_.verify || !plausible ? 0 : kVerifyBytes;
  for (std::size_t i = records.size(); i-- > 0 && verified < kVerifyBytes;) {
    if (records[i].removal) continue;
    if (last_bytes_match(records[i])) {
      verified += records[i].length;
      continue;
    }
    cut_reason = fmt::format(
        "the block of map {} does not match its checksum or is beyond the end of its file",
        number(records[i].map));
    records.resize(i);
    verified = 0;
  }
  const uint64_t valid_bytes = (records.size() + 1) * kIndexRecordBytes;
  if (valid_bytes != index_bytes || !cut_reason.empty()) {
    log_warning("merge.index_cut", {{"file", index_path()},
                                    {"shuffle", number(shuffle_)},
                                    {"partition", number(partition_)},
                                    {"records", records.size()},
                                    {"offset", valid_bytes},
                                    {"reason", cut_reason}});
    TRY_ASSIGN(const std::unique_ptr<File> index, io_.open(index_path(), OpenMode::kWriteCreate));
    TRY(index->truncate(valid_bytes));
  }
  index_end_ = valid_bytes;
  for (const IndexRecord& record : records) {
    if (record.removal || record.segment < segment_) continue;
    const uint64_t end = record.offset + record.length;
    segment_end_ = record.segment > segment_ ? end : std::max(segment_end_, end);
    segment_ = record.segment;
  }
  take_over(records);
  // Whatever lies behind the last record in its file is garbage of an append that did not finish.
  if (segment_end_ == 0) return ok();
  TRY_ASSIGN(const std::unique_ptr<File> data,
             io_.open(segment_path(segment_), OpenMode::kWriteCreate));
  TRY_ASSIGN(const uint64_t size, data->size());
  return size > segment_end_ ? data->truncate(segment_end_) : ok();
}

void MergedPartition::take_over(const std::vector<IndexRecord>& records) {
  auto view = std::make_shared<const MergedView>(records);
  maps_.clear();
  for (const MergedView::Entry& entry : view->entries()) maps_.insert(entry.record.map);
  blocks_ = view->entries().size();
  view_bytes_ = view->bytes();
  gapless_ = view->gapless();
  view_ = nullptr;
  allocated_ = segment_end_;
  // What the index knows to be removed need not be removed again.
  if (forgotten_ == nullptr || forgotten_->count() == 0) return;
  std::map<MapId, std::size_t> removals;
  for (const IndexRecord& record : records) removals[record.map] += record.removal ? 1 : 0;
  const auto known = forgotten_->since(0);
  const bool all = std::ranges::all_of(known, [&](MapId map) {
    return !maps_.contains(map) ||
           removals[map] >= static_cast<std::size_t>(std::ranges::count(known, map));
  });
  forgotten_until_ = all ? known.size() : 0;
}

}  // namespace shufflefs::merge
