// Ends what Spark does not end: registrations whose directories are gone, temporary files of
// executors that are dead, and applications that have given no sign for a long time.
//
// What counts as proof, because a mistake loses data of a running job: a directory is gone if the
// disk that it was on is there and it is not; an executor is dead if its process was seen when it
// registered (merge/executor_process.h) and is no more; an application is at its end if nothing has
// asked for it, read its partitions here, written below its directories or registered within the
// time given, and no process of it is known to live. Index, data and RDD files are only ever
// touched by the last rule.
//
// Time is the Runtime's; wall clocks decide nothing. A changed modification time is a sign of life
// at the sweep that sees it. After a start of the daemon every application counts as just alive.
//
// Threads: run() is a task of the reactor, sweep() works on a disk thread. Failure: logged, tried
// again at the next sweep. Cost: one stat for each registered directory and sweep, and
// kLooksPerTtl times in app-ttl one for each file of applications that are quiet.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
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
  // One round. Blocks on the disk.
  void sweep(TimePoint now);

 private:
  static constexpr int kLooksPerTtl = 8;
  // When an executor was first seen dead; done once its temporary files are gone.
  struct Death {
    TimePoint seen;
    bool done = false;
  };
  // What an application's last sign of life was, and when it was seen.
  struct Life {
    TimePoint seen;
    uint64_t sign = 0;                  // Executors::last_sign
    std::optional<std::size_t> stamps;  // of its directories when they were looked at since
    TimePoint looked;
  };
  using ExecutorList = std::vector<ExecutorRef>;

  [[nodiscard]] bool is_gone(const Executor& executor) const;
  void remove_temporaries(const Executor& executor);
  void end_applications(TimePoint now);
  // Whether it has given no sign for as long as app-ttl.
  [[nodiscard]] bool is_quiet(const AppId& app, const ExecutorList& executors, TimePoint now);
  [[nodiscard]] std::size_t stamps_of(const ExecutorList& executors) const;
  void end(const Executor& executor);

  Parts parts_;
  const ReaperOptions options_;
  // The sweep's own:
  std::map<ExecutorRef, Death> dead_;
  std::map<AppId, Life> lives_;
};

}  // namespace shufflefs::merge
