// Passthrough: the kernel reads and writes the backing file itself. An inode's mode, passthrough or
// ordinary, is decided at its first open and held until its last close, because the kernel refuses
// (EIO) to mix them or to use two backing ids for one inode. Keyed by nodeid, so that it serves
// native and virtual inodes alike.
//
// Threads: any; one lock, held during the ioctl of a first open or last close. Ownership: the
// backing ids. Failure: never; where the kernel refuses the backing file (stacked file systems,
// privileges), the inode is served by ordinary I/O, a counter says how often, and one line per
// reason why. Cost: an ioctl (~1 us) at a first open and a last close.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/metrics.h"

struct fuse_file_info;

namespace shufflefs::fs {

class Passthrough {
 public:
  // `wanted` false: ordinary I/O for everything.
  Passthrough(Metrics& metrics, bool wanted);

  // Called by the session when it knows the connection and whether the kernel has agreed to
  // passthrough.
  void attach(int session_fd, bool negotiated);

  // Counts an open of the inode and completes `info` for the reply (backing_id, cache flags). `fd`
  // is open on the backing file, not O_PATH; it is not needed afterwards. The thread's credentials
  // of the first open are those that the kernel writes with (quota, reserved blocks). True if the
  // inode is in passthrough mode.
  bool open(uint64_t nodeid, int fd, fuse_file_info& info);
  // Counts a close: exactly one for each open(), when the kernel releases it or when its reply was
  // not taken.
  void close(uint64_t nodeid);

  [[nodiscard]] std::size_t open_inodes() const;

 private:
  struct Inode {
    uint32_t opens = 0;
    int32_t backing_id = 0;  // 0: ordinary
  };
  int32_t register_backing(int fd);  // 0 if refused
  void count_refusal(int error);

  // Constant after construction.
  const bool wanted_;
  Metrics& metrics_;
  Counter& on_;
  Counter& off_;

  std::atomic<int> session_fd_{-1};
  std::atomic<bool> negotiated_{false};
  mutable std::mutex mu_;
  std::unordered_map<uint64_t, Inode> inodes_;  // GUARDED_BY(mu_)
  std::set<int> reported_;                      // GUARDED_BY(mu_): errnos that have been logged
};

}  // namespace shufflefs::fs
