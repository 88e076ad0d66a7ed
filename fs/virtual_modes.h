// How the opens of one virtual inode may be answered. The kernel's rule: while an inode has an open
// in passthrough, every other open of it must be in passthrough to the same backing file, else it
// fails with EIO. An inode is a snapshot here (virtual_inodes.h: a partition is retired at each
// open), so the rule bites only when two opens race for one inode; then the second joins the first
// if it would show the same bytes, and is sent through another lookup (ESTALE, which makes the
// kernel try once more) if not. An inode that is open the ordinary way stays so.
//
// Threads: any; own lock. Failure: see Verdict. Cost: one hash lookup an open.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/mutex.h"

namespace shufflefs::fs {

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
