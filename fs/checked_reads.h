// Merged bytes are compared with their checksums before anybody gets them: a file before the kernel
// may read it by itself (MergedFileChecks), a stream before it hands out a large block
// (CheckedStream).
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/gate.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/runtime.h"
#include "merge/partition_plan.h"
#include "merge/partition_stream.h"

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

// Which files were right, remembered by what they are, their size and times, for the life of this
// process: a file that has been written since is another one. What changes on the disk without that
// is found by `verify`, which makes everything be checked again. Threads: any; own lock.
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

// Threads: reactor, forget() any. Failure: a file that cannot be read or has other bytes is not
// passed on; its readers get streams, which say what is wrong. Cost: a check reads the file once,
// a few MiB at a time, on the disk threads.
class MergedFileChecks {
 public:
  explicit MergedFileChecks(Runtime& runtime) : runtime_(runtime), gate_(runtime, "checks") {}
  [[nodiscard]] Task<void> close() { return gate_.close(); }

  // The file, if it holds what the plan's checksums say. A small one is looked at now. Of a large
  // one that was not looked at yet nothing is returned, and it is looked at meanwhile.
  [[nodiscard]] Task<std::optional<Fd>> checked(Fd file, const merge::PartitionPlan& plan);
  void forget() { right_.clear(); }

 private:
  [[nodiscard]] Task<bool> check(int fd, FileIdentity file, FileCheck check);
  [[nodiscard]] Task<void> check_meanwhile(Fd fd, FileIdentity file, FileCheck check);

  Runtime& runtime_;
  CheckedFiles right_;
  std::set<FileIdentity> under_way_;  // large ones
  Gate gate_;
};

// A PartitionStream of which nobody gets a byte that was not compared with its checksum first. The
// stream itself checks blocks up to a unit (1 MiB) before it returns any of them; a larger merged
// block it checks only when the last piece has come. So a large block is read once beforehand,
// which gives the checksum of each piece, and together they are compared with the block's; then
// each piece is compared with its own when it is read for good.
//
// Threads: reactor; several reads at a time are fine. Memory: what the stream leases, and 4 bytes
// for each MiB of large blocks. Failure: as the stream; kCorruptData if two tries give wrong bytes.
// Bound: a read waits for at most two readings of the blocks that it touches. Cost: merged blocks
// above 1 MiB are read twice. Blocks that are not merged have no checksum.
class CheckedStream {
 public:
  // `checks_large` false, for readers that check by themselves: no more than the stream does.
  CheckedStream(Runtime& runtime, std::shared_ptr<merge::PartitionStream> stream,
                bool checks_large = true)
      : runtime_(runtime), stream_(std::move(stream)), checks_large_(checks_large) {}

  [[nodiscard]] const merge::PartitionPlan& plan() const { return stream_->plan(); }
  // As PartitionStream::read(). The stream must outlive it.
  [[nodiscard]] Task<Result<Buffer>> read(uint64_t offset, uint32_t size);
  [[nodiscard]] Task<void> close() { return stream_->close(); }

 private:
  // The checksums of a block's pieces, or that they are being learnt.
  struct Pieces {
    std::optional<Status> learnt;
    std::vector<uint32_t> crcs;
    std::vector<std::shared_ptr<Timer>> waiters;
  };
  using Blocks = std::vector<const merge::PlannedBlock*>;

  [[nodiscard]] Blocks large_blocks(uint64_t offset, uint64_t size) const;
  [[nodiscard]] Task<Result<std::shared_ptr<Pieces>>> pieces_of(const merge::PlannedBlock& block);
  [[nodiscard]] Task<Status> learn(const merge::PlannedBlock& block, std::vector<uint32_t>& crcs);
  [[nodiscard]] Task<Status> compare(const merge::PlannedBlock& block, uint64_t offset,
                                     std::span<const std::byte> bytes);

  Runtime& runtime_;
  const std::shared_ptr<merge::PartitionStream> stream_;
  const bool checks_large_;
  std::map<const merge::PlannedBlock*, std::shared_ptr<Pieces>> pieces_;
};

}  // namespace shufflefs::fs
