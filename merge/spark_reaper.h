// Ends what Spark does not end: registrations whose directories are gone, temporary files of
// executors that are dead, and applications that have given no sign for a long time.
//
// What counts as proof, because a mistake loses data of a running job: a directory is gone if the
// disk that it was on is there and it is not; an executor is dead if its process was seen when it
// registered (merge/executor_process.h) and is no more; an application is at its end if nothing has
// asked for it, written below its directories or registered within the time given, and no process
// of it is known to live. Index, data and RDD files are only ever touched by the last rule.
//
// Threads: run() is a task of the reactor, sweep() works on a disk thread. Failure: logged, tried
// again at the next sweep. Cost: one stat for each registered directory and sweep.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/runtime.h"
#include "merge/commits.h"
#include "merge/executors.h"
#include "merge/trash.h"

namespace shufflefs::merge {

struct ReaperOptions {
  Duration interval = std::chrono::seconds(15);
  Duration temporary_grace = std::chrono::seconds(60);  // after the executor was first seen dead
  Duration app_ttl{};                                   // 0: never
};

class SparkReaper {
 public:
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    Executors& executors;
    Trash& trash;
    CommitSink& commits;
    // Makes the kernel forget names on the mount that are not there any more; may be empty.
    std::function<void(const std::vector<std::string>&)> forget_names;
    // Whether the process has ended; for tests.
    std::function<bool(const ProcessMark&)> is_gone;
  };
  SparkReaper(Parts parts, ReaperOptions options);

  // Sweeps for ever, until cancelled.
  [[nodiscard]] Task<void> run();
  // One round; `now_ms` since 1970. Blocks on the disk.
  void sweep(uint64_t now_ms);

 private:
  [[nodiscard]] bool is_gone(const Executor& executor) const;
  void remove_temporaries(const Executor& executor);
  void end_applications(uint64_t now_ms);
  [[nodiscard]] uint64_t last_change_ms(const Executor& executor) const;
  void end(const Executor& executor);

  Parts parts_;
  const ReaperOptions options_;
  // When an executor was first seen dead; done once its temporary files are gone. The sweep's own.
  struct Death {
    uint64_t seen_ms = 0;
    bool done = false;
  };
  std::map<ExecutorRef, Death> dead_;
};

}  // namespace shufflefs::merge
