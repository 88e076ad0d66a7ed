// Passthrough: the kernel reads and writes the backing file itself. An inode's mode, passthrough or
// ordinary, is decided at its first open and held until its last close, because the kernel refuses
// (EIO) to mix them or to use two backing ids for one inode. Keyed by nodeid, so that it serves
// native and virtual inodes alike.
//
// The ids are saved (saved_tables.h): they stay valid as long as the connection to the kernel, and
// a file that is open when a worker dies must be opened with the same one by the next worker.
//
// Threads: any; one lock, held during the ioctl (~1 us) of a first open or last close. Failure:
// where the kernel refuses the backing file (stacked file systems, privileges), the inode is served
// by ordinary I/O; a counter says how often, a log line why.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/fd.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "fs/saved_tables.h"

struct fuse_file_info;

namespace shufflefs::fs {

class Passthrough {
 public:
  // `wanted` false: ordinary I/O for everything.
  Passthrough(Metrics& metrics, bool wanted, Fd saved = Fd());

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

  // ---- at start, after a worker before us: once for each file that is open still, ...
  void restore(uint64_t nodeid, int32_t backing_id);
  // ... and then once, after attach() and before the first request: gives the kernel back what no
  // open file needs.
  void close_unused();

  [[nodiscard]] bool wanted() const { return wanted_; }
  // False: every read and write of this connection comes to us. Then nothing changes a file without
  // the kernel's page cache.
  [[nodiscard]] bool in_use() const { return wanted_ && negotiated_; }
  [[nodiscard]] std::size_t open_inodes() const;

 private:
  static constexpr unsigned kHighest = 0;  // a counter of saved_: the last id that was registered
  struct Saved {
    uint64_t nodeid = 0;
    int32_t backing_id = 0;
  };
  struct Inode {
    uint32_t opens = 0;
    int32_t backing_id = 0;  // 0: ordinary
    uint32_t record = 0;     // in saved_, if there is an id
  };
  void register_backing(uint64_t nodeid, Inode& inode, int fd) REQUIRES(mu_);  // none if refused
  void close_backing(const Inode& inode) REQUIRES(mu_);
  void count_refusal(int error) REQUIRES(mu_);

  // Constant after construction.
  const bool wanted_;
  Counter& on_;
  Counter& off_;
  Labelled<Counter>& refused_;  // by reason

  std::atomic<int> session_fd_{-1};
  std::atomic<bool> negotiated_{false};
  mutable Mutex mu_;
  SavedTable<Saved> saved_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, Inode> inodes_ GUARDED_BY(mu_);
  std::set<int> reported_ GUARDED_BY(mu_);  // errnos that have been logged
};

// How the opens of one virtual inode may be answered. The kernel's rule: while an inode has an open
// in passthrough, every other open of it must be in passthrough to the same backing file. An inode
// is a snapshot here (virtual_inodes.h retires a partition at each open), so two opens meet only
// when they race. Then the second joins the first if it would show the same bytes; if not, ESTALE
// makes the kernel look up the name once more. An inode that is open the ordinary way stays so.
//
// Threads: any; own lock. Failure: see Verdict. Cost: one hash lookup an open.
class OpenModes {
 public:
  enum class Verdict {
    kOrdinary,     // counted; answer with direct I/O
    kPassthrough,  // not counted: try passthrough and call opened() if it works, else begin() again
                   // without `whole`
    kStale,        // not counted: answer ESTALE
  };
  // An open that would show `bytes` bytes; `whole`: it could be passthrough.
  [[nodiscard]] Verdict begin(uint64_t nodeid, uint64_t bytes, bool whole);
  // After kPassthrough has worked.
  void opened(uint64_t nodeid, uint64_t bytes);
  // REQUIRES: an open in passthrough has been given back to Passthrough before.
  void released(uint64_t nodeid);
  // What fstat shall say of an open inode.
  [[nodiscard]] std::optional<uint64_t> bytes(uint64_t nodeid) const;

 private:
  struct Opens {
    uint64_t users = 0;
    uint64_t bytes = 0;
    bool passthrough = false;
  };
  mutable Mutex mu_;
  std::unordered_map<uint64_t, Opens> by_nodeid_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
