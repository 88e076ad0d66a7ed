// What a native tree tells the rest of the daemon. A native tree is a directory of a data disk
// shown through the mount: local/<disk>, or the maps/ directory of one shuffle. The operations on
// it go to the disk; the hooks around them are where commits are noticed, and, in maps/, where bad
// ones are refused.
//
// Threads: called on FUSE threads, concurrently. A hook returns at once: no network, no waiting, at
// most a look at a small local file. The `after_` hooks run when the operation has succeeded and
// before the kernel is answered.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace shufflefs::fs {

// A name in a directory of a native tree.
struct NameInTree {
  int directory_fd = -1;      // O_PATH descriptor of the directory, valid during the call
  bool in_tree_root = false;  // the directory is the tree's root
  std::string_view name;

  // The absolute path on the disk below (not through the mount); asks the kernel, so only when it
  // is needed. (fs/tree_hooks.cc)
  [[nodiscard]] Result<std::string> backing_path() const;
};

class TreeHooks {
 public:
  virtual ~TreeHooks() = default;

  // False: before_change() need not be called for files that are opened for writing or truncated.
  // Those requests name an inode, and finding its directory and name costs four system calls.
  [[nodiscard]] virtual bool guards_writes() const { return true; }

  // Before something is created, opened for writing or truncated. An error refuses it with its
  // errno. Removals are never refused: whoever may remove a file may take its map output back.
  virtual Status before_change(const NameInTree& /*target*/) { return ok(); }
  virtual Status before_rename(const NameInTree& /*from*/, const NameInTree& /*to*/) {
    return ok();
  }

  virtual void after_rename(const NameInTree& /*from*/, const NameInTree& /*to*/) {}
  virtual void after_link(const NameInTree& /*to*/) {}
  virtual void after_remove(const NameInTree& /*target*/, bool /*was_directory*/) {}
  // The last close of a file that was open for writing; `path` is where it is now (empty if it was
  // unlinked).
  virtual void after_write_close(const std::string& /*path*/) {}
  // An extended attribute of the file or directory at `path` was set or removed.
  virtual void after_attribute(const std::string& /*path*/, std::string_view /*attribute*/) {}
};

}  // namespace shufflefs::fs
