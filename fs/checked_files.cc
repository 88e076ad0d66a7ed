#include "fs/checked_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>

#include "base/crc32c.h"
#include "base/file_io.h"

namespace shufflefs::fs {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20U;

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
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
  std::vector<std::byte> buffer(kPiece);
  // What lies in the buffer: many blocks are small.
  std::span<const std::byte> left;
  for (uint64_t done = 0; !is_done() && (done < bytes || !left.empty());) {
    const Block& block = blocks_[at_];
    if (left.empty()) {
      uint64_t wanted = block.length - within_;
      for (std::size_t next = at_ + 1; next < blocks_.size() && wanted < kPiece; ++next)
        wanted += blocks_[next].length;
      const std::span<std::byte> into =
          std::span(buffer).first(static_cast<std::size_t>(std::min<uint64_t>(wanted, kPiece)));
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

}  // namespace shufflefs::fs
