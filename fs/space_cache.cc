#include "fs/space_cache.h"

#include <algorithm>
#include <chrono>

namespace shufflefs::fs {
namespace {

constexpr unsigned long kBlockBytes = 4096;

void add(struct statvfs& sum, const struct statvfs& disk) {
  const auto in_blocks = [&](uint64_t count) { return count * disk.f_frsize / kBlockBytes; };
  sum.f_blocks += in_blocks(disk.f_blocks);
  sum.f_bfree += in_blocks(disk.f_bfree);
  sum.f_bavail += in_blocks(disk.f_bavail);
  sum.f_files += disk.f_files;
  sum.f_ffree += disk.f_ffree;
  sum.f_favail += disk.f_favail;
  sum.f_namemax = std::min(sum.f_namemax, disk.f_namemax);
}

}  // namespace

SpaceCache::SpaceCache(const NativeFs& native) : native_(native) {
  refresh();
  thread_ = std::thread([this] {
    MutexLock lock(mu_);
    while (true) {
      const auto next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      while (!stopping_ && wake_.wait_until(lock, next)) {
      }
      if (stopping_) return;
      lock.unlock();
      refresh();
      lock.lock();
    }
  });
}

SpaceCache::~SpaceCache() {
  {
    const MutexLock lock(mu_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void SpaceCache::refresh() {
  struct statvfs sum{};
  sum.f_bsize = sum.f_frsize = kBlockBytes;
  sum.f_namemax = 255;
  for (const auto& tree : native_.trees_by_device()) {
    struct statvfs disk{};
    if (::fstatvfs(tree->mount_fd.get(), &disk) == 0) add(sum, disk);
  }
  const MutexLock lock(mu_);
  numbers_ = sum;
}

struct statvfs SpaceCache::snapshot() const {
  const MutexLock lock(mu_);
  return numbers_;
}

}  // namespace shufflefs::fs
