// The disks' sizes and free space as remembered numbers, for statfs of the root and of virtual
// nodes: `df` and the kubelet must get an answer at once, also when a disk behind is sick.
//
// Threads: snapshot() on any; a thread of its own asks the disks once a second. Ownership: uses
// NativeFs until stop() or destruction. Failure: a disk that cannot be asked keeps its last numbers
// out of the sum. Cost: a lock.
#pragma once

#include <sys/statvfs.h>

#include <thread>

#include "base/mutex.h"
#include "fs/native_trees.h"

namespace shufflefs::fs {

class SpaceCache {
 public:
  explicit SpaceCache(const NativeFs& native);
  ~SpaceCache();
  SpaceCache(const SpaceCache&) = delete;
  SpaceCache& operator=(const SpaceCache&) = delete;

  // The sum over the devices that the trees are on, as of the last refresh.
  [[nodiscard]] struct statvfs snapshot() const EXCLUDES(mu_);
  // Asks the disks now; may block on them. Called once the trees are there, so that the first
  // answer is right.
  void refresh() EXCLUDES(mu_);

 private:
  const NativeFs& native_;
  mutable Mutex mu_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mu_) = false;
  struct statvfs numbers_ GUARDED_BY(mu_) {};
  std::thread thread_;
};

}  // namespace shufflefs::fs
