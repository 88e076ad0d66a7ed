// What happens to Spark's files in directories that programs use without the mount in between
// (local-mode = bind), as the kernel tells it: a fanotify group for each file system, whose events
// name the directory and the file (fanotify(7), FAN_REPORT_DFID_NAME; Linux 5.9).
//
// The kernel queues an event before the call that made it returns. So are_unread() is exact: while
// it is false, the sink has been told of everything. What the queue cannot hold (16,384 events by
// default) becomes spark_events_lost().
//
// Threads: any; one thread of ours for each file system, which may wait for its disk. Failure: what
// the kernel or a file system cannot do is an error of open(), which says so. Cost: a read of 24
// bytes and a comparison of names for each change on the file system, whoever makes it; an open and
// two stats for each of Spark's map output files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "base/result.h"
#include "merge/commits.h"

namespace shufflefs::fs {

class DiskEvents {
 public:
  explicit DiskEvents(Metrics& metrics);
  ~DiskEvents();
  DiskEvents(const DiskEvents&) = delete;
  DiskEvents& operator=(const DiskEvents&) = delete;

  // From now on the kernel collects what happens below `directory` (canonical; it may still have to
  // be made). Nothing is told before deliver(). Called again for the same directory it does
  // nothing, unless another disk is there now: true if the collecting has begun anew.
  [[nodiscard]] Result<bool> open(const std::string& directory);
  // `sink` outlives stop().
  void deliver(merge::CommitSink& sink);
  // For good: open() fails from then on.
  void stop();

  // Whether something has happened of which the sink has not been told to the end.
  [[nodiscard]] bool are_unread() const;

 private:
  class Group;

  Counter& events_;
  Counter& overflows_;
  mutable Mutex mu_;
  merge::CommitSink* sink_ GUARDED_BY(mu_) = nullptr;  // once deliver() was called
  bool stopped_ GUARDED_BY(mu_) = false;
  std::vector<std::unique_ptr<Group>> groups_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
