// Finds the processes of executors after they have registered (merge/executor_process.h), beside
// the answering: who registers does not wait for a look at the machine's processes. One search at a
// time, on a disk thread, for all that have registered since the last one, so that however many
// register, and however slow /proc is, no more than one thread is busy with it.
//
// What the last life of the daemon did not get to is looked for at the start. Who is not found is
// not looked for again before the next start.
//
// Threads: reactor. Failure: executors.search_cut; the process stays unknown. Memory: the names of
// what has registered during a search, at most as many as there are executors.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/file_io.h"
#include "base/runtime.h"
#include "merge/executor_process.h"
#include "merge/executors.h"

namespace shufflefs::merge {

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
