// Which process an executor is, seen from this machine: the one whose command line names the
// application and the executor, as Spark's standalone workers, YARN and Kubernetes start it. That
// is what makes it possible to say later that an executor is dead; Spark never tells.
//
// Threads: any; reads /proc, so call from a disk thread. Failure: nothing found (another pid
// namespace, another way of starting): then nothing is known, and nobody may conclude anything.
// Cost: a walk over the processes of the machine.
#pragma once

#include <optional>
#include <string_view>

#include "merge/executor_journal.h"

namespace shufflefs::merge {

[[nodiscard]] std::optional<ProcessMark> find_executor_process(std::string_view app,
                                                               std::string_view executor);

// True only if the process was ours to see and is no more: its pid is free or another process's.
[[nodiscard]] bool is_gone(const ProcessMark& process);

}  // namespace shufflefs::merge
