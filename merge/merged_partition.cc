#include "merge/merged_partition.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

// Nobody writes to it any more, not even after a restart.
constexpr uint32_t kSealedMode = 0400;
constexpr uint64_t kLargestCopy = 64U << 10U;  // 1,169 blocks
// Preallocation doubles the file, within these bounds: a small partition wastes little, a large one
// lies in extents that a disk reads in one go. They end at multiples of 1 MiB, as the pieces in
// which readers ask do: a piece that lies in two extents is two reads.
constexpr uint64_t kLeastAllocation = 256U << 10U;
constexpr uint64_t kMostAllocation = 16U << 20U;
constexpr uint64_t kAllocationUnit = 1U << 20U;

}  // namespace

MergedPartition::MergedPartition(FileIo& io, OpenFiles& files, std::string base_path,
                                 ShuffleId shuffle, PartitionId partition,
                                 MergedPartitionOptions options,
                                 std::shared_ptr<ShuffleCommits> commits)
    : io_(io),
      files_(files),
      base_path_(std::move(base_path)),
      shuffle_(shuffle),
      partition_(partition),
      options_(std::move(options)),
      commits_(commits ? std::move(commits) : std::make_shared<ShuffleCommits>()) {}

MergedPartition::~MergedPartition() {
  if (options_.index_copies) options_.index_copies->give_back(index_copy_.size());
}

std::string MergedPartition::segment_path(uint32_t segment, bool begin) const {
  if (segment == 0) return base_path_ + ".data";
  const std::string base =
      options_.place_segment ? options_.place_segment(segment, begin) : base_path_;
  return fmt::format("{}.{}.data", base, segment);
}

// ---- the view ------------------------------------------------------------------------------------------------------

Result<std::vector<IndexRecord>> MergedPartition::read_records() {
  if (index_end_ == 0) return std::vector<IndexRecord>{};
  std::vector<std::byte> bytes;
  if (index_copy_.size() != index_end_) {
    TRY_ASSIGN(const std::shared_ptr<File> file, files_.open_to_read(index_path()));
    bytes.resize(index_end_);
    TRY_ASSIGN(const std::size_t n, file->read_at(0, bytes));
    bytes.resize(n);
  }
  TRY_ASSIGN(ParsedIndex parsed, parse_index(bytes.empty() ? index_copy_ : bytes, shuffle_,
                                             partition_, options_.life, index_path()));
  if (parsed.valid_bytes != index_end_) {
    return make_error(Code::kCorruptIndex,
                      fmt::format("{} was good and is damaged now: {}", index_path(),
                                  parsed.cut_reason.empty() ? "it is shorter" : parsed.cut_reason));
  }
  for (auto at = missing_.rbegin(); at != missing_.rend(); ++at)
    parsed.records.erase(parsed.records.begin() + static_cast<std::ptrdiff_t>(*at));
  for (const MapCommit& over : unwritten_)
    parsed.records.push_back({.map = over.map, .id = over.id, .removal = true});
  return std::move(parsed.records);
}

Result<std::shared_ptr<const MergedView>> MergedPartition::current_view() {
  if (view_) return view_;
  TRY_ASSIGN(const std::vector<IndexRecord> records, read_records());
  auto view = std::make_shared<const MergedView>(records);
  if (!gapless_) view_ = view;
  return view;
}

void MergedPartition::apply_ended() {
  if (commits_->count() == ended_until_) {
    if (!unwritten_.empty()) take_out({});
    return;
  }
  const std::vector<MapCommit> ended = commits_->since(ended_until_);
  ended_until_ += ended.size();
  std::vector<MapCommit> over;
  for (const MapCommit& commit : ended) {
    // The block is of the commit that was current until then: this one.
    if (maps_.contains(commit.map)) over.push_back(commit);
    maps_.erase(commit.map);
  }
  take_out(over);
}

void MergedPartition::take_out(std::span<const MapCommit> over) {
  unwritten_.insert(unwritten_.end(), over.begin(), over.end());
  if (unwritten_.empty()) return;
  std::vector<IndexRecord> removals;
  removals.reserve(unwritten_.size());
  for (const MapCommit& commit : unwritten_)
    removals.push_back({.map = commit.map, .id = commit.id, .removal = true});
  Status done = write_records(removals, {});
  if (done) unwritten_.clear();
  view_ = nullptr;
  // What could not be written leaves the view nevertheless, and is tried again at the next use.
  const auto records = read_records();
  if (records)
    take_over(MergedView(*records));
  else
    done = records.error();
  if (!done) {
    log_limited(LogLevel::kWarning, "merge.not_forgotten",
                {{"index", index_path()}, {"reason", done.error().message}});
  }
}

void MergedPartition::take_over(const MergedView& view) {
  maps_.clear();
  for (const MergedView::Entry& entry : view.entries()) maps_.insert(entry.record.map);
  blocks_ = view.entries().size();
  view_bytes_ = view.bytes();
  gapless_ = view.gapless();
  view_ = nullptr;
}

Result<std::vector<MergedBlock>> MergedPartition::view() {
  const MutexLock lock(mu_);
  apply_ended();
  TRY_ASSIGN(const std::shared_ptr<const MergedView> view, current_view());
  return view->blocks();
}

bool MergedPartition::contains(const MapCommit& block) {
  const MutexLock lock(mu_);
  // In this order: what it has replaced is taken out before we look.
  const bool is_current = commits_->is_current(block);
  apply_ended();
  return is_current && maps_.contains(block.map);
}

uint64_t MergedPartition::blocks() {
  const MutexLock lock(mu_);
  apply_ended();
  return blocks_;
}

uint64_t MergedPartition::bytes() {
  const MutexLock lock(mu_);
  apply_ended();
  return view_bytes_;
}

std::size_t MergedPartition::memory_bytes() const {
  const MutexLock lock(mu_);
  return sizeof(*this) + 2 * base_path_.size() + maps_.memory_bytes() +
         (view_ ? view_->entries().size() * sizeof(MergedView::Entry) : 0);
}

bool MergedPartition::is_busy() const {
  const MutexLock lock(mu_);
  return !turns_.empty();
}

Status MergedPartition::read(uint64_t offset, std::span<std::byte> into) {
  // What is read is decided under the lock; the bytes never change, so the reading needs none.
  std::vector<IndexRecord> runs;
  if (into.empty()) return ok();
  {
    const MutexLock lock(mu_);
    apply_ended();
    if (offset > view_bytes_ || into.size() > view_bytes_ - offset) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("{} has {} merged bytes: cannot read {} at offset {}",
                                    base_path_, view_bytes_, into.size(), offset));
    }
    if (gapless_) {
      runs.push_back({.offset = offset, .length = into.size()});
    } else {
      TRY_ASSIGN(const std::shared_ptr<const MergedView> view, current_view());
      runs = view->runs(offset, into.size());
    }
  }
  for (const IndexRecord& run : runs) {
    const auto file = files_.open_to_read(segment_path(run.segment));
    if (!file && file.error().code == Code::kNotFound) {
      return make_error(Code::kCorruptData,
                        fmt::format("{} is not there, but its index names bytes of it",
                                    segment_path(run.segment)));
    }
    if (!file) return file.error();
    TRY_ASSIGN(const std::size_t n, (*file)->read_at(run.offset, into.first(run.length)));
    if (n != run.length) {
      return make_error(Code::kCorruptData,
                        fmt::format("{} is shorter than its index says (offset {})",
                                    segment_path(run.segment), run.offset + n));
    }
    into = into.subspan(run.length);
  }
  return ok();
}

// ---- appending -----------------------------------------------------------------------------------------------------

Result<MergedPartition::Appended> MergedPartition::append(std::span<const Block> blocks) {
  MutexLock lock(mu_);
  wait_for_turns_of(blocks);
  // First, so that what they replace leaves the view before they come into it.
  for (const Block& block : blocks) commits_->note({block.map, block.id});
  apply_ended();
  Appended counts;
  std::vector<std::span<const std::byte>> pieces;
  const std::shared_ptr<Turn> turn = reserve(blocks, counts, pieces);
  if (!turn) return counts;
  const Allocation allocation = allocation_for(segment_end_);
  lock.unlock();
  const Status written = write_bytes(*turn, pieces, allocation);
  lock.lock();
  turn->state = written ? Turn::State::kWritten : Turn::State::kFailed;
  if (!written) {
    turn->error = written.error();
    // Nobody has reserved behind it: the next one writes over the remains.
    if (turns_.back() == turn && turn->records.front().segment == segment_)
      segment_end_ = turn->records.front().offset;
  }
  settle_turns();
  // Those before are writing on other threads; each ends with its disk.
  while (turn->state != Turn::State::kSettled) settled_.wait(lock);
  if (turn->error) return *turn->error;
  return counts;
}

bool MergedPartition::is_under_way(std::span<const Block> blocks) const {
  for (const Block& block : blocks) {
    if (under_way_.contains(block.map)) return true;
  }
  return false;
}

// The same block may be offered twice at a time (a repeated push): the second waits for the first
// one's end, as it must not be acknowledged before.
void MergedPartition::wait_for_turns_of(std::span<const Block> blocks) {
  while (!turns_.empty() && is_under_way(blocks)) settled_.wait(mu_);
}

std::shared_ptr<MergedPartition::Turn> MergedPartition::reserve(
    std::span<const Block> blocks, Appended& counts,
    std::vector<std::span<const std::byte>>& pieces) {
  auto turn = std::make_shared<Turn>();
  MapSet mine;
  for (const Block& block : blocks) {
    if (!commits_->is_current({block.map, block.id})) {
      ++counts.over;
      continue;
    }
    if (maps_.contains(block.map) || mine.contains(block.map)) {
      ++counts.duplicates;
      continue;
    }
    mine.insert(block.map);
    turn->records.push_back(
        {.map = block.map, .id = block.id, .length = block.bytes.size(), .crc = block.crc});
    pieces.push_back(block.bytes);
    ++counts.merged;
    counts.merged_bytes += block.bytes.size();
  }
  if (turn->records.empty()) return nullptr;
  if (segment_end_ > 0 && segment_end_ + counts.merged_bytes > options_.split_bytes) {
    begin_segment();
  }
  for (IndexRecord& record : turn->records) {
    under_way_.insert(record.map);
    record.segment = segment_;
    record.offset = segment_end_;
    segment_end_ += record.length;
  }
  turns_.push_back(turn);
  return turn;
}

void MergedPartition::begin_segment() {
  segment_ = std::max(segment_ + 1, options_.first_segment);
  segment_end_ = 0;
  allocated_ = 0;
}

MergedPartition::Allocation MergedPartition::allocation_for(uint64_t end) {
  if (end <= allocated_ || end < kLeastAllocation) return {};
  if (options_.has_room && !options_.has_room()) return {};
  const uint64_t wanted = end + std::clamp(end, kLeastAllocation, kMostAllocation);
  const uint64_t begin =
      std::exchange(allocated_, (wanted + kAllocationUnit - 1) / kAllocationUnit * kAllocationUnit);
  return {begin, allocated_};
}

Status MergedPartition::write_bytes(Turn& turn, std::span<const std::span<const std::byte>> pieces,
                                    const Allocation& allocation) {
  const IndexRecord& first = turn.records.front();
  TRY_ASSIGN(turn.data, files_.open(segment_path(first.segment, true)));
  if (allocation.end > allocation.begin)
    (void)turn.data->preallocate(allocation.begin, allocation.end - allocation.begin);
  return turn.data->write_pieces_at(first.offset, pieces);
}

void MergedPartition::settle_turns() {
  std::vector<IndexRecord> records;
  std::vector<std::shared_ptr<TailFile>> data;
  std::vector<std::shared_ptr<Turn>> settling;
  while (!turns_.empty() && turns_.front()->state != Turn::State::kWriting) {
    const std::shared_ptr<Turn>& turn = turns_.front();
    if (turn->state == Turn::State::kWritten) {
      records.insert(records.end(), turn->records.begin(), turn->records.end());
      if (data.empty() || data.back() != turn->data) data.push_back(turn->data);
    }
    settling.push_back(turn);
    turns_.pop_front();
  }
  if (settling.empty()) return;
  const Status recorded = records.empty() ? ok() : write_records(records, data);
  if (recorded) add(records);
  for (const std::shared_ptr<Turn>& turn : settling) {
    for (const IndexRecord& record : turn->records) under_way_.erase(record.map);
    if (!recorded && !turn->error) turn->error = recorded.error();
    turn->state = Turn::State::kSettled;
  }
  settled_.notify_all();
}

Status MergedPartition::write_records(std::span<const IndexRecord> records,
                                      std::span<const std::shared_ptr<TailFile>> data) {
  TRY_ASSIGN(const std::shared_ptr<TailFile> index, files_.open(index_path()));
  unflushed_ = true;
  for (const std::shared_ptr<TailFile>& file : data) index->flush_after(file);
  std::vector<std::byte> bytes;
  bytes.reserve((records.size() + 1) * kIndexRecordBytes);
  if (index_end_ == 0) {
    const IndexBytes header = encode_index_header(shuffle_, partition_, options_.life);
    bytes.insert(bytes.end(), header.begin(), header.end());
  }
  for (const IndexRecord& record : records) {
    const IndexBytes encoded = encode_index_record(record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  // What failed half-way is overwritten by the next ones, as index_end_ moves only when all is
  // written.
  TRY(index->write_at(index_end_, bytes));
  keep_copy(bytes);
  index_end_ += bytes.size();
  return ok();
}

void MergedPartition::keep_copy(std::span<const std::byte> written) {
  if (!options_.index_copies || index_copy_.size() != index_end_) return;
  const bool fits = index_copy_.size() + written.size() <= kLargestCopy;
  if (fits && options_.index_copies->take(written.size())) {
    index_copy_.insert(index_copy_.end(), written.begin(), written.end());
    return;
  }
  options_.index_copies->give_back(index_copy_.size());
  index_copy_ = {};
}

void MergedPartition::add(std::span<const IndexRecord> records) {
  std::vector<MapCommit> over;
  for (const IndexRecord& record : records) {
    // It may have ended while its bytes were written.
    const MapCommit commit{record.map, record.id};
    if (commits_->is_current(commit))
      maps_.insert(record.map);
    else
      over.push_back(commit);
    gapless_ = gapless_ && record.segment == 0 && record.offset == view_bytes_;
    view_bytes_ += record.length;
    ++blocks_;
  }
  view_ = nullptr;
  if (!over.empty()) take_out(over);
}

// ---- the file itself -----------------------------------------------------------------------------------------------

std::optional<Fd> MergedPartition::seal_for_passthrough(uint64_t bytes) {
  const MutexLock lock(mu_);
  apply_ended();
  // An append under way may have made the file longer than the view.
  // Where it is one file, later segments have no blocks: it has been sealed before.
  const bool is_sealed = segment_ > 0;
  if (!gapless_ || blocks_ == 0 || view_bytes_ != bytes || !turns_.empty()) return std::nullopt;
  if (!is_sealed) {
    // The remains of an append that failed would be read as part of the file. Flushes it, and gives
    // back what was allocated ahead.
    const auto data = files_.open(segment_path(0));
    if (!data || !(*data)->truncate(view_bytes_)) return std::nullopt;
    // Whoever takes over writes behind what the index names.
    const auto index = files_.open(index_path());
    if (!index || !(*index)->flush()) return std::nullopt;
    if (!io_.set_mode(segment_path(0), kSealedMode)) return std::nullopt;
  }
  const auto file = io_.open(segment_path(0), OpenMode::kRead);
  if (!file || (*file)->native_fd() < 0) return std::nullopt;
  Fd fd(::fcntl((*file)->native_fd(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return std::nullopt;
  if (!is_sealed) begin_segment();
  return fd;
}

Status MergedPartition::flush() {
  const MutexLock lock(mu_);
  if (!unflushed_) return ok();
  if (segment_end_ > 0) {
    TRY_ASSIGN(const std::shared_ptr<TailFile> data, files_.open(segment_path(segment_)));
    TRY(data->flush());
  }
  // And with it the data of earlier segments that it names.
  TRY_ASSIGN(const std::shared_ptr<TailFile> index, files_.open(index_path()));
  TRY(index->flush());
  unflushed_ = false;
  return ok();
}

void MergedPartition::trim() {
  const MutexLock lock(mu_);
  if (allocated_ <= segment_end_ || !turns_.empty()) return;
  const auto data = files_.open(segment_path(segment_));
  if (!data) return;
  // The size stays; the file system gives back what lies behind it.
  if ((*data)->truncate(segment_end_)) allocated_ = segment_end_;
}

}  // namespace shufflefs::merge
