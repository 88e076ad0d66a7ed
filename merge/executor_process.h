// Which process an executor is, seen from this machine: the one whose command line names the
// application and the executor, as Spark's standalone workers, YARN and Kubernetes start it, and
// which belongs to the owner of the executor's directories: anybody can write any words into his
// own command line. Spark never tells that an executor is dead. This is the only proof, and
// SparkReaper removes nothing of an executor that may still live without it: not by age, since a
// task may read a spill that it wrote hours ago.
//
// Failure: nothing found (another pid namespace, another way of starting, beyond the limits). Then
// nothing is known, and nobody may conclude anything. Cost: one walk over the machine's processes
// for all executors asked for, with the command lines of their owners' processes only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/file_io.h"
#include "base/runtime.h"
#include "merge/executors.h"

namespace shufflefs::merge {

struct WantedProcess {
  std::string app;
  std::string executor;
  uint32_t uid = 0;
};

// How far a search goes. The words looked for are at the end of a command line, behind a class path
// of up to 128 KiB (the kernel's limit for one argument): one that is longer is not read.
struct SearchLimits {
  std::size_t processes = 100'000;
  std::size_t command_line_bytes = std::size_t{256} << 10U;
  std::chrono::milliseconds time{2000};  // looked at between two processes
};

struct ProcessesFound {
  std::map<std::size_t, ProcessMark> marks;  // by the place in `wanted`
  std::size_t looked_at = 0;                 // processes
  bool complete = true;                      // no limit was met
};

// Any thread; both read /proc, so call from a disk thread.
[[nodiscard]] ProcessesFound find_executor_processes(std::span<const WantedProcess> wanted,
                                                     const SearchLimits& limits = {});
// True only if the process was ours to see and is no more: its pid is free or another process's.
[[nodiscard]] bool is_gone(const ProcessMark& process);

// Searches for the processes of registered executors, in the background: a registration does not
// wait for it. One search at a time covers all executors that have registered since the last one.
// A start also searches for those that were not searched for before it. An executor that is not
// found is searched for again at the next start only.
//
// Threads: reactor. Failure: executors.search_cut; the process stays unknown. Memory: the names of
// the executors that register during a search.
class ExecutorFinder {
 public:
  // Both outlive it.
  ExecutorFinder(Runtime& runtime, FileIo& io, Executors& executors, SearchLimits limits = {})
      : runtime_(runtime),
        io_(io),
        executors_(executors),
        limits_(limits),
        news_(runtime.make_timer()) {}

  void look_for(const Executor& executor);
  // Searches whenever something has registered, until cancelled.
  [[nodiscard]] Task<void> run();

 private:
  using Names = std::set<std::pair<std::string, std::string>>;  // application and id
  void search(const Names& names) const;

  Runtime& runtime_;
  FileIo& io_;
  Executors& executors_;
  const SearchLimits limits_;
  Names pending_;
  std::unique_ptr<Timer> news_;
};

}  // namespace shufflefs::merge
