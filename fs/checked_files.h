// Which merged files have been compared with their checksums from beginning to end, so that the
// kernel may read them by itself (passthrough). Remembered by what the file is, its size and its
// times, for the life of this process and at most kCapacity files; a file that has been written
// since is another one. What changes on the disk without that is found by `verify`, which makes
// everything be checked again.
//
// Threads: any; own lock. Ownership: none of the descriptors. Failure: a file that cannot be read
// or has other bytes is not checked. Cost: a check reads the file once, 1 MiB of memory at a time,
// and belongs on a disk thread.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "merge/partition_plan.h"

namespace shufflefs::fs {

struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;

  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};
[[nodiscard]] Result<FileIdentity> identity_of(int fd);

// The blocks of a file, one after the other, and how far they have been looked at.
class FileCheck {
 public:
  // Nothing: the plan's blocks are not one file from its beginning to its end.
  [[nodiscard]] static std::optional<FileCheck> of(const merge::PartitionPlan& plan);

  [[nodiscard]] bool is_done() const { return at_ == blocks_.size(); }
  // Looks at about `bytes` more. kCorruptData, naming the offset; errors of the disk. Blocks.
  [[nodiscard]] Status go_on(int fd, uint64_t bytes);

 private:
  struct Block {
    uint64_t length = 0;
    uint32_t crc = 0;
  };
  std::vector<Block> blocks_;
  std::size_t at_ = 0;   // the block that is looked at
  uint64_t within_ = 0;  // of it
  uint64_t offset_ = 0;  // of the file
  uint32_t crc_ = 0;     // of the block up to `within_`
};

class CheckedFiles {
 public:
  static constexpr std::size_t kCapacity = 4096;

  [[nodiscard]] bool contains(const FileIdentity& file);
  void add(const FileIdentity& file);
  void clear();

 private:
  Mutex mu_;
  std::list<FileIdentity> by_use_ GUARDED_BY(mu_);  // the latest first
  std::map<FileIdentity, std::list<FileIdentity>::iterator> files_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
