#include "base/tail_file.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"

namespace shufflefs {
namespace {

// The last `count` bytes of all pieces together.
std::vector<std::byte> last_bytes(std::span<const std::span<const std::byte>> pieces,
                                  std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = pieces.size(); i-- > 0 && count > 0;) {
    const std::size_t n = std::min(count, pieces[i].size());
    count -= n;
    std::ranges::copy(pieces[i].last(n), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return bytes;
}

}  // namespace

TailFile::~TailFile() { stop_holding(); }

Status TailFile::find_end() {
  if (end_) return ok();
  TRY_ASSIGN(end_, below_->size());
  return ok();
}

// ---- writing -------------------------------------------------------------------------------------------------------

bool TailFile::hold_all(uint64_t offset, Pieces pieces, uint64_t bytes) {
  if (!budget_ || !holds_ || bytes > kLargestHeld || offset + bytes <= *end_) return false;
  if (!held_.bytes.empty() && offset != held_.end()) return false;
  const uint64_t all = held_.bytes.size() + bytes;
  if (all > kMostHeld || !budget_->take(bytes)) return false;
  taken_ += bytes;
  if (held_.bytes.empty()) held_.begin = offset;
  if (held_.bytes.capacity() < all)
    held_.bytes.reserve(std::min(kMostHeld, std::max(2 * all, kPage)));
  for (const auto& piece : pieces)
    held_.bytes.insert(held_.bytes.end(), piece.begin(), piece.end());
  end_ = offset + bytes;
  return true;
}

TailFile::Range TailFile::take() {
  if (taken_ > 0) budget_->give_back(std::exchange(taken_, 0));
  rounds_ = 0;
  return std::exchange(held_, Range{});
}

std::optional<TailFile::Ranges::iterator> TailFile::take_held(uint64_t offset) {
  if (held_.bytes.empty() || offset != held_.end()) return std::nullopt;
  ranges_.push_front(take());
  ranges_.front().being_written = true;
  return ranges_.begin();
}

void TailFile::hold_end_of(Pieces pieces, uint64_t end, uint64_t bytes) {
  if (!holds_ || !held_.bytes.empty()) return;
  held_.bytes = last_bytes(pieces, std::min(end % kPage, bytes));
  held_.begin = end - held_.bytes.size();
}

Status TailFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  return write_pieces_at(offset, std::span(&bytes, 1));
}

Status TailFile::write_pieces_at(uint64_t offset, Pieces pieces) {
  std::vector<std::span<const std::byte>> all;
  uint64_t bytes = 0;
  for (const auto& piece : pieces) bytes += piece.size();
  const uint64_t end = offset + bytes;

  MutexLock lock(mu_);
  touched_ = true;
  TRY(find_end());
  // Over what is held: an append that failed is being replaced.
  if (!held_.bytes.empty() && offset < held_.end() && end > held_.begin) TRY(write_held());
  if (hold_all(offset, pieces, bytes)) return ok();
  const auto taken = take_held(offset);
  if (taken) {
    all.emplace_back((*taken)->bytes);
    offset = (*taken)->begin;
    bytes += (*taken)->bytes.size();
  }
  all.insert(all.end(), pieces.begin(), pieces.end());
  if (end > *end_) {
    end_ = end;
    hold_end_of(all, end, bytes);
    bytes -= held_.end() == end ? held_.bytes.size() : 0;
  }
  if (bytes == 0) {  // all of it is held
    if (taken) ranges_.erase(*taken);
    return ok();
  }
  Status done = flush_first();
  lock.unlock();
  // Without the end that is held.
  uint64_t left = bytes;
  for (auto& piece : all) {
    piece = piece.first(std::min<uint64_t>(piece.size(), left));
    left -= piece.size();
  }
  if (done) done = below_->write_pieces_at(offset, all);
  lock.lock();
  if (taken) {
    (*taken)->being_written = false;
    if (done) ranges_.erase(*taken);
    written_.notify_all();
  }
  return done;
}

Status TailFile::flush_first() {
  while (!first_.empty()) {
    const auto first = first_;
    const uint64_t asked = asked_first_;
    // Whoever comes in here meanwhile flushes them as well.
    mu_.unlock();
    Status done = ok();
    for (const auto& file : first) {
      Status one = file->flush();
      if (done) done = std::move(one);
    }
    mu_.lock();
    TRY(done);
    // What was appended meanwhile to one of them may be held still, and named by what we hold.
    if (asked == asked_first_) first_.clear();
  }
  return ok();
}

Status TailFile::write_held() {
  while (std::ranges::any_of(ranges_, &Range::being_written)) written_.wait(mu_);
  if (!held_.bytes.empty()) ranges_.push_front(take());
  while (!ranges_.empty()) {
    TRY(below_->write_at(ranges_.back().begin, ranges_.back().bytes));
    ranges_.pop_back();
  }
  return ok();
}

// ---- flushing ------------------------------------------------------------------------------------------------------

Status TailFile::flush() {
  MutexLock lock(mu_);
  if (held_.bytes.empty() && ranges_.empty()) return ok();
  TRY(flush_first());
  return write_held();
}

void TailFile::flush_after(std::shared_ptr<TailFile> first) {
  const MutexLock lock(mu_);
  ++asked_first_;
  if (std::ranges::find(first_, first) == first_.end()) first_.push_back(std::move(first));
}

void TailFile::stop_holding() {
  {
    const MutexLock lock(mu_);
    holds_ = false;
  }
  const Status flushed = flush();
  if (!flushed)
    log_limited(LogLevel::kError, "disk.tail_lost", {{"reason", flushed.error().message}});
}

void TailFile::discard() {
  const MutexLock lock(mu_);
  holds_ = false;
  (void)take();
  std::erase_if(ranges_, [](const Range& range) { return !range.being_written; });
  first_.clear();
}

Status TailFile::flush_if_idle() {
  {
    const MutexLock lock(mu_);
    if (std::exchange(touched_, false) && (held_.bytes.empty() || ++rounds_ < kMostRounds))
      return ok();
  }
  return flush();
}

// ---- reading -------------------------------------------------------------------------------------------------------

Result<std::size_t> TailFile::read_at(uint64_t offset, std::span<std::byte> into) {
  // First what is in memory: what is written meanwhile is in the file then.
  std::vector<std::pair<uint64_t, Bytes>> over;
  {
    const MutexLock lock(mu_);
    const auto add = [&](const Range& range) {
      const uint64_t from = std::max(range.begin, offset);
      const uint64_t to = std::min(range.end(), offset + into.size());
      if (from >= to) return;
      const auto part = std::span(range.bytes).subspan(from - range.begin, to - from);
      over.emplace_back(from, Bytes(part.begin(), part.end()));
    };
    for (const Range& range : ranges_) add(range);
    add(held_);
  }
  TRY_ASSIGN(std::size_t n, below_->read_at(offset, into));
  std::ranges::sort(over, {}, [](const auto& range) { return range.first; });
  for (const auto& [from, bytes] : over) {
    if (from > offset + n) break;  // a hole: nobody has written there yet
    std::ranges::copy(bytes, into.begin() + static_cast<std::ptrdiff_t>(from - offset));
    n = std::max<std::size_t>(n, from + bytes.size() - offset);
  }
  return n;
}

Result<uint64_t> TailFile::size() {
  const MutexLock lock(mu_);
  TRY_ASSIGN(uint64_t size, below_->size());
  for (const Range& range : ranges_) size = std::max(size, range.end());
  return held_.bytes.empty() ? size : std::max(size, held_.end());
}

Status TailFile::truncate(uint64_t size) {
  MutexLock lock(mu_);
  TRY(write_held());
  TRY(below_->truncate(size));
  end_ = size;
  return ok();
}

}  // namespace shufflefs
