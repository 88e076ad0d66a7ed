// What the daemon may still do once it runs: the capabilities of a file system and no others, no
// new privileges by executing something, and none of the system calls that only an intruder would
// make.
//
// The filter refuses by name (EPERM) instead of allowing by name: a call that a newer libc makes
// must not end a node. Threads: call it before any are made, they inherit everything. Failure:
// logged (serve.privileges_kept); the daemon runs on with more than it needs. Cost: nothing that
// can be measured, since the kernel remembers which calls the filter always allows (5.11 and
// later).
#pragma once

#include <vector>

namespace shufflefs {

// Of the supervisor and the worker. `changes_network`: CAP_NET_ADMIN stays too, for the relay.
void give_up_privileges(bool changes_network);

// The capabilities that are kept, for the documentation and the test.
[[nodiscard]] const std::vector<int>& needed_capabilities();

}  // namespace shufflefs
