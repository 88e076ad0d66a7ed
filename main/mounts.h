// Mounts from outside: what is mounted where, from /proc/self/mountinfo, which answers without
// asking the mounts; and what another process does to our mount: a call into a mount that hangs
// cannot be taken back, and a thread of ours that waits for our own answer could not be killed.
//
// Threads: any, where nothing else is said. Failure: errors carry the errno.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/runtime.h"

namespace shufflefs {

struct MountEntry {
  dev_t device = 0;
  std::string root;  // which directory of its file system is mounted
  std::string point;
  std::string type;  // "fuse.shufflefs", "tmpfs", ...
};

[[nodiscard]] std::vector<MountEntry> read_mounts();

// A mount point as read_mounts() names it, found without asking the mount.
[[nodiscard]] std::string without_links_above(const std::string& point);

// The topmost mount whose mount point is exactly `path` (canonical).
[[nodiscard]] std::optional<MountEntry> mounted_at(const std::string& path);

// The mounts at or below `directory` (canonical), the latest first: in the order to unmount them.
[[nodiscard]] std::vector<MountEntry> mounts_below(const std::string& directory);

// Detaches lazily: succeeds while files are open, and when whoever served the mount is dead. Not an
// error if nothing is mounted there.
[[nodiscard]] Status detach_mount(const std::string& point);

// Whether the mount answers, found out as its users would: a child process stats the mount and
// reads a file through it. One that does not come back in time is killed, and while it is still
// there no other is started. Threads: reactor. Ownership: the children; one that hangs is left to
// the system. Cost: a process for each check, at most two a second; the answer in between is the
// last one.
class MountProbe {
 public:
  MountProbe(Runtime& runtime, std::string mount) : runtime_(runtime), mount_(std::move(mount)) {}

  [[nodiscard]] Task<Status> check();
  // False also before the first check and while one hangs.
  [[nodiscard]] bool last_was_good() const { return !is_late_ && last_ && last_->has_value(); }

 private:
  [[nodiscard]] Status start();
  // How the child ended, if it has.
  [[nodiscard]] std::optional<Status> ended();

  Runtime& runtime_;
  const std::string mount_;
  pid_t child_ = 0;  // 0: none
  bool is_late_ = false;
  TimePoint started_{};
  std::optional<Status> last_;
};

// What the child does: the exit code, 0 or an errno.
[[nodiscard]] int probe_mount(const std::string& mount);

// Makes the kernel forget names on the mount. It remembers for a minute what it was told of local/;
// what the daemon removes below the mount it must tell, by removing the name through the mount once
// more, which finds nothing. Absolute paths, without links in the part above the mount. Threads:
// disk threads; blocks for milliseconds, 5 s at most. Failure: logged; the kernel finds out after a
// minute.
void forget_names_on_mount(const std::vector<std::string>& paths);

// A directory of a disk that is to lie over one of our mount.
struct Binding {
  std::string source;
  std::string point;
};
// Binds what is not bound. Blocks, 5 s at most. Failure: the first that could not be bound;
// programs then use the directory through the mount.
[[nodiscard]] Status bind_directories(const std::vector<Binding>& bindings);
// What the other process does: the hidden command "bind-local SOURCE POINT...". The exit code, 0 or
// an errno.
[[nodiscard]] int bind_each(const std::vector<std::string>& sources_and_points);

// What the other process does: the hidden command "forget-names PATH...". It follows no link: what
// is below the mount is the users', and it is root.
void remove_names(const std::vector<std::string>& paths);

}  // namespace shufflefs
