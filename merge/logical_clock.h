// The node's logical clock: numbers for commits and drops that only grow (Lamport, "Time, Clocks,
// and the Ordering of Events in a Distributed System", 1978). Every message between nodes that
// carries such a number raises the receiver's clock, so what is done with knowledge of an event
// gets a larger number than it.
//
// The clock survives restarts: a file holds a bound, and no number above it leaves the process. A
// node without the file (a new disk) begins at its own wall clock, in milliseconds times 2^20:
// above the numbers of its former life, which began so too and went on by 2^20 with each restart.
//
// Threads: any. Only load() and cover() touch the disk, and they hold no lock that the others take.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/file_io.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "merge/commit_id.h"

namespace shufflefs::merge {

class LogicalClock {
 public:
  // `path`: of the file; empty: kept in memory only.
  LogicalClock(FileIo& io, std::string path) : io_(io), path_(std::move(path)) {}

  [[nodiscard]] Status load(WallTime now);
  [[nodiscard]] uint64_t now() const { return value_.load(); }
  // A number that is larger than all before.
  [[nodiscard]] uint64_t tick() { return value_.fetch_add(1) + 1; }
  // As tick(), and another node's number for a drop is never the same: its last 16 bits are those
  // of the node's tag. (Of two nodes that share them, drops at the same instant can meet in one
  // life.)
  [[nodiscard]] uint64_t tick_for_drop(NodeTag self);
  // Another node, or an earlier life of this one, has used this number.
  void observe(uint64_t number);
  // Makes sure that the next life of this node begins above `number`. Called before a number is
  // told to anybody. Blocks on the disk, once for a million numbers.
  [[nodiscard]] Status cover(uint64_t number);

 private:
  [[nodiscard]] Status write_bound(uint64_t bound);

  FileIo& io_;
  const std::string path_;
  std::atomic<uint64_t> value_{0};
  std::atomic<uint64_t> bound_{0};  // what the file says
  Mutex writing_;                   // held over the write; taken by disk threads only
};

}  // namespace shufflefs::merge
