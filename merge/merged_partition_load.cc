// Replaying a merged partition's index after a start; the contract is in merge/merged_partition.h.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/crc32c.h"
#include "base/log.h"
#include "merge/merged_partition.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kMaxIndexFileBytes = uint64_t{1} << 30U;  // 19 million blocks of one partition
// Blocks are verified from the end of the file backwards over at least so many bytes: more than one
// append can tear.
constexpr uint64_t kVerifyBytes = 4U << 20U;

}  // namespace

Status MergedPartition::load() {
  const MutexLock lock(mu_);
  const auto bytes = read_file(io_, index_path(), kMaxIndexFileBytes);
  if (!bytes && bytes.error().code == Code::kNotFound) return ok();
  if (!bytes) return bytes.error();
  auto parsed = parse_index(*bytes, shuffle_, partition_, options_.life, index_path());
  if (!parsed) {
    log_warning("merge.index_unreadable", {{"file", index_path()},
                                           {"shuffle", number(shuffle_)},
                                           {"partition", number(partition_)},
                                           {"reason", parsed.error().message}});
    TRY(io_.rename(index_path(), index_path() + ".bad"));
    return io_.remove_file(segment_path(0));
  }
  Checked checked = check(std::move(parsed->records));
  if (!parsed->cut_reason.empty()) checked.reason = std::move(parsed->cut_reason);
  return keep(std::move(checked), bytes->size());
}

bool MergedPartition::bytes_match(const IndexRecord& record) {
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

MergedPartition::Checked MergedPartition::check(std::vector<IndexRecord> records) {
  enum class Verdict : uint8_t { kGood, kMissing, kBad };
  std::vector<Verdict> verdicts(records.size(), Verdict::kGood);
  Checked checked;
  // Of each block: does its file reach so far? A file that cannot be asked is another matter: its
  // disk may be away, and come back. But segment 0 lies beside the index.
  std::map<uint32_t, std::optional<uint64_t>> sizes;
  bool any_bad = false;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const IndexRecord& record = records[i];
    if (record.removal) continue;
    const auto [it, is_new] = sizes.try_emplace(record.segment);
    if (is_new) {
      const auto info = io_.stat(segment_path(record.segment));
      if (info) it->second = info->size;
      if (info && record.segment == 0) checked.is_sealed = info->is_read_only;
      if (!info && info.error().code == Code::kNotFound && record.segment == 0) it->second = 0;
    }
    if (!it->second) {
      verdicts[i] = Verdict::kMissing;
    } else if (record.offset + record.length > *it->second) {
      verdicts[i] = Verdict::kBad;
      any_bad = true;
    }
  }
  // The last records may name bytes that never reached the file. Verify backwards until enough is
  // known to be good.
  uint64_t verified = options_.verify || any_bad ? 0 : kVerifyBytes;
  for (std::size_t i = records.size(); i-- > 0 && verified < kVerifyBytes;) {
    if (records[i].removal || verdicts[i] != Verdict::kGood) continue;
    if (bytes_match(records[i])) {
      verified += records[i].length;
      continue;
    }
    verdicts[i] = Verdict::kBad;
    verified = 0;
  }
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (verdicts[i] == Verdict::kBad) {
      checked.reason = fmt::format(
          "the block of map {} does not match its checksum or is beyond the end of its file",
          number(records[i].map));
      continue;
    }
    if (verdicts[i] == Verdict::kMissing) checked.missing.push_back(checked.records.size());
    checked.is_prefix = checked.is_prefix && checked.records.size() == i;
    checked.records.push_back(records[i]);
  }
  return checked;
}

Status MergedPartition::keep(Checked checked, uint64_t index_bytes) {
  const uint64_t valid_bytes = (checked.records.size() + 1) * kIndexRecordBytes;
  if (valid_bytes != index_bytes) {
    log_warning("merge.index_cut", {{"file", index_path()},
                                    {"shuffle", number(shuffle_)},
                                    {"partition", number(partition_)},
                                    {"records", checked.records.size()},
                                    {"offset", valid_bytes},
                                    {"reason", checked.reason}});
    files_.forget(index_path());
    if (checked.is_prefix) {
      TRY_ASSIGN(const std::unique_ptr<File> index, io_.open(index_path(), OpenMode::kWriteCreate));
      TRY(index->truncate(valid_bytes));
    } else {
      TRY(replace_file(io_, index_path(), encode_index(checked.records)));
    }
  }
  index_end_ = valid_bytes;
  for (const IndexRecord& record : checked.records) {
    if (record.removal || record.segment < segment_) continue;
    const uint64_t end = record.offset + record.length;
    segment_end_ = record.segment > segment_ ? end : std::max(segment_end_, end);
    segment_ = record.segment;
  }
  if (segment_ == 0 && checked.is_sealed) begin_segment();
  // A segment that may come back does not grow: it would get a hole.
  for (const std::size_t at : checked.missing) {
    if (checked.records[at].segment == segment_ && segment_end_ > 0) begin_segment();
  }
  missing_ = std::move(checked.missing);
  for (auto at = missing_.rbegin(); at != missing_.rend(); ++at)
    checked.records.erase(checked.records.begin() + static_cast<std::ptrdiff_t>(*at));
  allocated_ = segment_end_;
  learn(checked.records);
  // Whatever lies behind the last record in its file is garbage of an append that did not finish.
  if (segment_end_ == 0) return ok();
  TRY_ASSIGN(const std::unique_ptr<File> data,
             io_.open(segment_path(segment_), OpenMode::kWriteCreate));
  TRY_ASSIGN(const uint64_t size, data->size());
  return size > segment_end_ ? data->truncate(segment_end_) : ok();
}

std::vector<std::byte> MergedPartition::encode_index(std::span<const IndexRecord> records) const {
  std::vector<std::byte> bytes;
  bytes.reserve((records.size() + 1) * kIndexRecordBytes);
  const IndexBytes header = encode_index_header(shuffle_, partition_, options_.life);
  bytes.insert(bytes.end(), header.begin(), header.end());
  for (const IndexRecord& record : records) {
    const IndexBytes encoded = encode_index_record(record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  return bytes;
}

// The shuffle's other partitions learn from it, and it learns what they know to be over.
void MergedPartition::learn(const std::vector<IndexRecord>& records) {
  const MergedView view(records);
  take_over(view);
  std::vector<MapCommit> removed;
  for (const IndexRecord& record : records) {
    if (record.removal) removed.push_back({record.map, record.id});
  }
  std::vector<MapCommit> blocks;
  blocks.reserve(view.entries().size());
  for (const MergedView::Entry& entry : view.entries())
    blocks.push_back({entry.record.map, entry.record.id});
  const ShuffleCommits::Learned learned = commits_->learn(removed, blocks);
  ended_until_ = learned.position;
  take_out(learned.over);
}

}  // namespace shufflefs::merge
