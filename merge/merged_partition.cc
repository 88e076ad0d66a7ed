#include "merge/merged_partition.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kLargestIndex = uint64_t{1} << 30U;  // 26 million blocks of one partition
// Blocks are verified from the end of the file backwards over at least so many bytes: more than one
// append can tear.
constexpr uint64_t kVerifyBytes = 4U << 20U;

}  // namespace

MergedPartition::MergedPartition(FileIo& io, std::string base_path, ShuffleId shuffle,
                                 PartitionId partition)
    : io_(io), base_path_(std::move(base_path)), shuffle_(shuffle), partition_(partition) {}

std::string MergedPartition::segment_path(uint32_t segment) const {
  return segment == 0 ? base_path_ + ".data" : fmt::format("{}.{}.data", base_path_, segment);
}

Status MergedPartition::load() {
  const std::lock_guard lock(mu_);
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
  return keep_valid(std::move(parsed->records), cut ? parsed->valid_bytes : bytes->size(),
                    std::move(parsed->cut_reason));
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
  uint64_t verified = 0;
  for (std::size_t i = records.size(); i-- > 0 && verified < kVerifyBytes;) {
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
  for (const IndexRecord& record : records) add_entry(record);
  // Whatever lies behind the last record in its file is garbage of an append that did not finish.
  if (entries_.empty()) return ok();
  TRY_ASSIGN(const std::unique_ptr<File> data,
             io_.open(segment_path(segment_), OpenMode::kWriteCreate));
  return data->truncate(segment_end_);
}

void MergedPartition::add_entry(const IndexRecord& record) {
  if (!maps_.insert(number(record.map)).second) {
    forget_entry(record.map);  // removed and written again: the later one counts
    maps_.insert(number(record.map));
  }
  gapless_ = gapless_ && record.segment == 0 && record.offset == view_bytes_;
  entries_.push_back({record, view_bytes_});
  view_bytes_ += record.length;
  if (record.segment >= segment_) {
    segment_end_ = record.segment > segment_
                       ? record.offset + record.length
                       : std::max(segment_end_, record.offset + record.length);
    segment_ = record.segment;
  }
}

void MergedPartition::forget_entry(MapId map) {
  maps_.erase(number(map));
  const auto it = std::ranges::find(entries_, map, [](const Entry& e) { return e.record.map; });
  if (it == entries_.end()) return;
  const uint64_t length = it->record.length;
  for (auto later = entries_.erase(it); later != entries_.end(); ++later) {
    later->view_offset -= length;
  }
  view_bytes_ -= length;
  gapless_ = false;
}

void MergedPartition::forget(MapId map) {
  const std::lock_guard lock(mu_);
  if (maps_.contains(number(map))) forget_entry(map);
}

Status MergedPartition::write_record(const IndexRecord& record) {
  TRY_ASSIGN(const std::unique_ptr<File> index, io_.open(index_path(), OpenMode::kWriteCreate));
  if (index_end_ == 0) {
    TRY(index->write_at(0, encode_index_header(shuffle_, partition_)));
    index_end_ = kIndexRecordBytes;
  }
  // A record that failed half-way is overwritten by the next one, as index_end_ moves only when all
  // is written.
  TRY(index->write_at(index_end_, encode_index_record(record)));
  index_end_ += kIndexRecordBytes;
  return ok();
}

Result<MergedPartition::Appended> MergedPartition::append(MapId map, uint32_t crc,
                                                          std::span<const std::byte> bytes) {
  const std::lock_guard lock(mu_);
  if (maps_.contains(number(map))) return Appended::kDuplicate;
  const IndexRecord record{map, segment_end_, bytes.size(), segment_, crc};
  {
    TRY_ASSIGN(const std::unique_ptr<File> data,
               io_.open(segment_path(segment_), OpenMode::kWriteCreate));
    // If this fails half-way the next block is written over the remains: no record names them.
    TRY(data->write_at(record.offset, bytes));
  }
  TRY(write_record(record));
  add_entry(record);
  return Appended::kMerged;
}

std::vector<MergedBlock> MergedPartition::view() const {
  const std::lock_guard lock(mu_);
  std::vector<MergedBlock> blocks;
  blocks.reserve(entries_.size());
  for (const Entry& entry : entries_) {
    blocks.push_back({entry.record.map, entry.view_offset, entry.record.length, entry.record.crc});
  }
  return blocks;
}

uint64_t MergedPartition::blocks() const {
  const std::lock_guard lock(mu_);
  return entries_.size();
}

uint64_t MergedPartition::bytes() const {
  const std::lock_guard lock(mu_);
  return view_bytes_;
}

Status MergedPartition::read(uint64_t offset, std::span<std::byte> into) {
  // The runs to read are copied under the lock; entries never change, so the reading itself needs
  // none.
  std::vector<IndexRecord> runs;
  if (into.empty()) return ok();
  {
    const std::lock_guard lock(mu_);
    if (offset > view_bytes_ || into.size() > view_bytes_ - offset) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("{} has {} merged bytes: cannot read {} at offset {}",
                                    base_path_, view_bytes_, into.size(), offset));
    }
    auto entry = std::upper_bound(entries_.begin(), entries_.end(), offset,
                                  [](uint64_t at, const Entry& e) { return at < e.view_offset; });
    uint64_t skip = offset - std::prev(entry)->view_offset;
    uint64_t missing = into.size();
    for (--entry; missing > 0; ++entry, skip = 0) {
      IndexRecord run = entry->record;
      run.offset += skip;
      run.length = std::min(run.length - skip, missing);
      missing -= run.length;
      if (!runs.empty() && runs.back().segment == run.segment &&
          runs.back().offset + runs.back().length == run.offset) {
        runs.back().length += run.length;
      } else {
        runs.push_back(run);
      }
    }
  }
  for (const IndexRecord& run : runs) {
    TRY_ASSIGN(const std::unique_ptr<File> file,
               io_.open(segment_path(run.segment), OpenMode::kRead));
    TRY_ASSIGN(const std::size_t n, file->read_at(run.offset, into.first(run.length)));
    if (n != run.length) {
      return make_error(Code::kCorruptData,
                        fmt::format("{} is shorter than its index says (offset {})",
                                    segment_path(run.segment), run.offset + n));
    }
    into = into.subspan(run.length);
  }
  return ok();
}

std::optional<Fd> MergedPartition::seal_for_passthrough(uint64_t bytes) {
  const std::lock_guard lock(mu_);
  if (!gapless_ || entries_.empty() || view_bytes_ != bytes || segment_ > 0) return std::nullopt;
  {
    // The remains of an append that failed would be read as part of the file.
    const auto data = io_.open(segment_path(0), OpenMode::kWriteCreate);
    if (!data || !(*data)->truncate(view_bytes_)) return std::nullopt;
  }
  const auto file = io_.open(segment_path(0), OpenMode::kRead);
  if (!file || (*file)->native_fd() < 0) return std::nullopt;
  Fd fd(::fcntl((*file)->native_fd(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return std::nullopt;
  segment_ = 1;
  segment_end_ = 0;
  return fd;
}

}  // namespace shufflefs::merge
