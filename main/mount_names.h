// Makes the kernel forget names on the mount. The kernel remembers for a minute what it was told of
// local/, as the mount is the only way to change it; what the daemon itself removes below the mount
// it must tell. It does so by removing the name through the mount once more, which finds nothing,
// in another process: a thread of ours that waits for our own answer could not be killed, and with
// it the daemon could not be restarted. That process follows no link: what is below the mount is
// the users', and it is root.
//
// Threads: disk threads; blocks for milliseconds, at most kPatience. Failure: logged; the kernel
// finds out by itself after a minute.
#pragma once

#include <string>
#include <vector>

namespace shufflefs {

// Absolute paths on the mount, without links in the part above it.
void forget_names_on_mount(const std::vector<std::string>& paths);

// What the other process does: the hidden command "forget-names PATH...".
void remove_names(const std::vector<std::string>& paths);

}  // namespace shufflefs
