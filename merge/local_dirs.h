// Which directories executors may name as theirs, and where those are on the disks: a path below
// <mount>/local/disk<i> is one below the i-th data directory's local/, and a path below an allowed
// directory is itself. The daemon works on the disks' paths: it never reads through its own mount.
//
// Threads: constant after construction. Failure: kPermission or kInvalidArgument with what would be
// allowed. Paths are compared as text: a symbolic link to the mount is not the mount.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shufflefs::merge {

struct LocalDir {
  std::string registered;  // as the executor gave it, without a trailing slash
  std::size_t root = 0;    // index into LocalDirs::roots()
  std::string below;       // the path below the root, not empty, without "." and ".."
};

class LocalDirs {
 public:
  // `mounts` are the names under which executors may know the mount (as configured, and without
  // links), `disks` what local/disk0, disk1, ... are, `allowed` directories outside the mount.
  LocalDirs(std::vector<std::string> mounts, std::vector<std::string> disks,
            std::vector<std::string> allowed);

  [[nodiscard]] Result<LocalDir> translate(std::string_view registered) const;
  // First the disks, then the allowed directories.
  [[nodiscard]] const std::vector<std::string>& roots() const { return roots_; }
  [[nodiscard]] bool is_disk(std::size_t root) const { return root < disks_; }
  // The path on the disk.
  [[nodiscard]] std::string backing(const LocalDir& directory) const;

 private:
  std::vector<std::string> mounts_;
  std::vector<std::string> roots_;
  std::size_t disks_;
};

}  // namespace shufflefs::merge
