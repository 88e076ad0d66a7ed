#include "fs/checked_reads.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "base/crc32c.h"
#include "base/file_io.h"

namespace shufflefs::fs {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20U;

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}
// Files up to that size are checked before their first open is answered, which takes some
// milliseconds.
constexpr uint64_t kCheckedAtOpen = 16U << 20U;
constexpr uint64_t kCheckStep = 4U << 20U;  // at a time on a disk thread
constexpr std::size_t kMaxChecks = 2;       // of large files at a time

using merge::kUnitBytes;
using merge::PlannedBlock;

constexpr int kTries = 2;  // a stream that has found a copy wrong reads another one

Error wrong_bytes(const merge::PartitionPlan& plan, const PlannedBlock& block) {
  return make_error(
      Code::kCorruptData,
      fmt::format("map {} of {}/{} does not match its checksum", merge::number(block.map),
                  to_string(plan.shuffle), merge::number(plan.partition)));
}

uint32_t piece_length(const PlannedBlock& block, uint64_t within) {
  return static_cast<uint32_t>(std::min(kUnitBytes, block.length - within));
}

}  // namespace

Result<FileIdentity> identity_of(int fd) {
  struct stat attr{};
  if (::fstat(fd, &attr) != 0) return errno_error("cannot stat a merged file");
  return FileIdentity{attr.st_dev, attr.st_ino, static_cast<uint64_t>(attr.st_size),
                      nanoseconds(attr.st_mtim), nanoseconds(attr.st_ctim)};
}

std::optional<FileCheck> FileCheck::of(const merge::PartitionPlan& plan) {
  FileCheck check;
  check.blocks_.reserve(plan.blocks.size());
  for (const merge::PlannedBlock& block : plan.blocks) {
    if (!block.merged || block.merged->view_offset != block.offset) return std::nullopt;
    check.blocks_.push_back({block.length, block.merged->crc});
  }
  return check;
}

Status FileCheck::go_on(int fd, uint64_t bytes) {
  std::vector<std::byte> buffer(kReadBytes);
  // What lies in the buffer: many blocks are small.
  std::span<const std::byte> left;
  for (uint64_t done = 0; !is_done() && (done < bytes || !left.empty());) {
    const Block& block = blocks_[at_];
    if (left.empty()) {
      uint64_t wanted = block.length - within_;
      for (std::size_t next = at_ + 1; next < blocks_.size() && wanted < kReadBytes; ++next)
        wanted += blocks_[next].length;
      const std::span<std::byte> into =
          std::span(buffer).first(static_cast<std::size_t>(std::min<uint64_t>(wanted, kReadBytes)));
      TRY(read_exactly(fd, "a merged file", offset_, into));
      left = into;
      done += into.size();
    }
    const std::size_t step =
        static_cast<std::size_t>(std::min<uint64_t>(left.size(), block.length - within_));
    crc_ = crc32c(crc_, left.first(step));
    left = left.subspan(step);
    within_ += step;
    offset_ += step;
    if (within_ < block.length) continue;
    if (crc_ != block.crc) {
      return make_error(
          Code::kCorruptData,
          fmt::format("the {} bytes before {} do not match their checksum", block.length, offset_));
    }
    ++at_;
    within_ = 0;
    crc_ = 0;
  }
  return ok();
}

bool CheckedFiles::contains(const FileIdentity& file) {
  const MutexLock lock(mu_);
  const auto it = files_.find(file);
  if (it == files_.end()) return false;
  by_use_.splice(by_use_.begin(), by_use_, it->second);
  return true;
}

void CheckedFiles::add(const FileIdentity& file) {
  const MutexLock lock(mu_);
  if (files_.contains(file)) return;
  by_use_.push_front(file);
  files_.emplace(file, by_use_.begin());
  if (files_.size() <= kCapacity) return;
  files_.erase(by_use_.back());
  by_use_.pop_back();
}

void CheckedFiles::clear() {
  const MutexLock lock(mu_);
  files_.clear();
  by_use_.clear();
}

Task<std::optional<Fd>> MergedFileChecks::checked(Fd file, const merge::PartitionPlan& plan) {
  const auto identity = identity_of(file.get());  // of an open file: no disk is asked
  if (!identity) co_return std::nullopt;
  if (right_.contains(*identity)) co_return std::move(file);
  auto left = FileCheck::of(plan);
  if (!left || under_way_.contains(*identity)) co_return std::nullopt;
  if (plan.bytes <= kCheckedAtOpen) {
    if (co_await check(file.get(), *identity, std::move(*left))) co_return std::move(file);
  } else if (under_way_.size() < kMaxChecks) {
    under_way_.insert(*identity);
    gate_.spawn(check_meanwhile(std::move(file), *identity, std::move(*left)));
  }
  co_return std::nullopt;
}

Task<bool> MergedFileChecks::check(int fd, FileIdentity file, FileCheck check) {
  while (!check.is_done()) {
    const Status right =
        co_await offload(runtime_, [&check, fd] { return check.go_on(fd, kCheckStep); });
    if (right) continue;
    // A disk that has damaged one file may have damaged others.
    right_.clear();
    co_return false;
  }
  right_.add(file);
  co_return true;
}

Task<void> MergedFileChecks::check_meanwhile(Fd fd, FileIdentity file, FileCheck left) {
  const std::shared_ptr<void> done(nullptr, [this, file](void*) { under_way_.erase(file); });
  co_await check(fd.get(), file, std::move(left));
}

CheckedStream::Blocks CheckedStream::large_blocks(uint64_t offset, uint64_t size) const {
  if (!checks_large_) return {};
  const std::vector<PlannedBlock>& blocks = plan().blocks;
  auto it = std::upper_bound(
      blocks.begin(), blocks.end(), offset,
      [](uint64_t at, const PlannedBlock& block) { return at < block.offset + block.length; });
  Blocks large;
  for (; it != blocks.end() && it->offset < offset + size; ++it) {
    if (it->merged && it->length > kUnitBytes) large.push_back(&*it);
  }
  return large;
}

Task<Result<Buffer>> CheckedStream::read(uint64_t offset, uint32_t size) {
  const Blocks large = large_blocks(offset, size);
  for (const PlannedBlock* block : large) CO_TRY(co_await pieces_of(*block));
  for (int tries = 1;; ++tries) {
    auto bytes = co_await stream_->read(offset, size);
    if (!bytes && bytes.error().code == Code::kCorruptData && tries < kTries) continue;
    if (!bytes || large.empty()) co_return bytes;
    Status right = ok();
    for (const PlannedBlock* block : large) {
      if (right) right = co_await compare(*block, offset, bytes->span());
    }
    if (right) co_return bytes;
    if (tries == kTries) co_return right.error();
  }
}

Task<Result<std::shared_ptr<CheckedStream::Pieces>>> CheckedStream::pieces_of(
    const PlannedBlock& block) {
  std::shared_ptr<Pieces> pieces = pieces_[&block];
  if (!pieces) {
    pieces = pieces_[&block] = std::make_shared<Pieces>();
    // Whatever ends this coroutine: who waits for it hears of it.
    const std::shared_ptr<void> ended(nullptr, [pieces](void*) {
      if (!pieces->learnt) pieces->learnt = make_error(Code::kCancelled, "the reader has gone");
      for (const auto& waiter : pieces->waiters) waiter->wake();
    });
    Status learnt = co_await learn(block, pieces->crcs);
    if (!learnt && learnt.error().code == Code::kCorruptData)
      learnt = co_await learn(block, pieces->crcs);
    pieces->learnt = std::move(learnt);
  }
  while (!pieces->learnt) {
    const auto waiter = std::shared_ptr<Timer>(runtime_.make_timer());
    pieces->waiters.push_back(waiter);
    co_await waiter->wait_for(std::chrono::seconds(60));
  }
  if (*pieces->learnt) co_return pieces;
  const auto it = pieces_.find(&block);
  if (it != pieces_.end() && it->second == pieces) pieces_.erase(it);  // the next read tries again
  co_return pieces->learnt->error();
}

Task<Status> CheckedStream::learn(const PlannedBlock& block, std::vector<uint32_t>& crcs) {
  crcs.clear();
  uint32_t all = 0;
  for (uint64_t within = 0; within < block.length; within += kUnitBytes) {
    const uint32_t length = piece_length(block, within);
    CO_TRY_ASSIGN(const Buffer piece, co_await stream_->read(block.offset + within, length));
    if (piece.size() != length) co_return wrong_bytes(plan(), block);
    crcs.push_back(crc32c(piece.span()));
    all = crc32c_combine(all, crcs.back(), length);
  }
  if (all != block.merged->crc) co_return wrong_bytes(plan(), block);
  co_return ok();
}

// Whether what `bytes`, read at `offset`, have of the block is what was learnt. A piece of which
// they have only a part is read whole: the stream still has it.
Task<Status> CheckedStream::compare(const PlannedBlock& block, uint64_t offset,
                                    std::span<const std::byte> bytes) {
  CO_TRY_ASSIGN(const std::shared_ptr<Pieces> pieces, co_await pieces_of(block));
  const uint64_t begin = std::max(offset, block.offset);
  const uint64_t end = std::min(offset + bytes.size(), block.offset + block.length);
  for (uint64_t at = begin; at < end;) {
    const uint64_t within = (at - block.offset) / kUnitBytes * kUnitBytes;
    const uint32_t length = piece_length(block, within);
    const uint64_t piece_at = block.offset + within;
    const uint64_t until = std::min(end, piece_at + length);
    const auto part = bytes.subspan(at - offset, until - at);
    if (part.size() == length) {
      if (crc32c(part) != pieces->crcs[within / kUnitBytes]) co_return wrong_bytes(plan(), block);
    } else {
      CO_TRY_ASSIGN(const Buffer piece, co_await stream_->read(piece_at, length));
      if (piece.size() != length || crc32c(piece.span()) != pieces->crcs[within / kUnitBytes] ||
          std::memcmp(piece.data() + (at - piece_at), part.data(), part.size()) != 0)
        co_return wrong_bytes(plan(), block);
    }
    at = until;
  }
  co_return ok();
}

}  // namespace shufflefs::fs
