// Which process an executor is, seen from this machine: the one whose command line names the
// application and the executor, as Spark's standalone workers, YARN and Kubernetes start it, and
// which belongs to the owner of the executor's directories: anybody can write any words into his
// own command line. That is what makes it possible to say later that an executor is dead; Spark
// never tells.
//
// Threads: any; reads /proc, so call from a disk thread. Failure: nothing found (another pid
// namespace, another way of starting, beyond the limits): then nothing is known, and nobody may
// conclude anything. Cost: one walk over the processes of the machine for all executors asked for,
// with the command lines of their owners' processes only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "merge/executor_journal.h"

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

[[nodiscard]] ProcessesFound find_executor_processes(std::span<const WantedProcess> wanted,
                                                     const SearchLimits& limits = {});

// True only if the process was ours to see and is no more: its pid is free or another process's.
[[nodiscard]] bool is_gone(const ProcessMark& process);

}  // namespace shufflefs::merge
