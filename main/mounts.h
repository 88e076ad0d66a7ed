// What is mounted where, from /proc/self/mountinfo: it answers without asking the mounts, which may
// be dead.
//
// Any thread. Failure: errors carry the errno.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace shufflefs {

struct MountEntry {
  std::string point;
  std::string type;  // "fuse.shufflefs", "tmpfs", ...
};

[[nodiscard]] std::vector<MountEntry> read_mounts();

// The topmost mount whose mount point is exactly `path` (canonical).
[[nodiscard]] std::optional<MountEntry> mounted_at(const std::string& path);

// The mounts at or below `directory` (canonical), the latest first: in the order to unmount them.
[[nodiscard]] std::vector<MountEntry> mounts_below(const std::string& directory);

// Detaches lazily: succeeds while files are open, and when whoever served the mount is dead. Not an
// error if nothing is mounted there.
[[nodiscard]] Status detach_mount(const std::string& point);

}  // namespace shufflefs
