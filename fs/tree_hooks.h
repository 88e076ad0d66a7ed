// What a native tree tells the rest of the daemon. A native tree is a directory of a data disk
// shown through the mount: local/<disk>, or the maps/ directory of one shuffle. Its operations go
// to the disk; the hooks around them notice commits and, in maps/, refuse bad ones.
//
// Threads: FUSE threads, concurrently. A hook returns at once, after a look at a small local file
// at most; only commit_scope() may wait, for a second. The `after_` hooks run when the operation
// has succeeded, before the kernel is answered.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fs/os_files.h"

namespace shufflefs::fs {

// A name in a directory of a native tree.
struct NameInTree {
  int directory_fd = -1;      // O_PATH descriptor of the directory, valid during the call
  bool in_tree_root = false;  // the directory is the tree's root
  std::string_view name;

  // The absolute path on the disk below (not through the mount); asks the kernel, so only when it
  // is needed.
  [[nodiscard]] Result<std::string> backing_path() const {
    std::string path = path_of_descriptor(directory_fd);
    if (path.empty())
      return errno_error("cannot find the path of the directory of " + std::string(name), ENOENT);
    if (path.back() != '/') path += '/';
    return path.append(name);
  }
};

// Held from before_change() or before_attributes() to the end of the operation, so that nothing is
// opened, made or changed while a commit looks at the same files.
using ChangeScope = std::shared_lock<std::shared_mutex>;
using CommitScope = std::unique_lock<std::shared_mutex>;

class TreeHooks {
 public:
  virtual ~TreeHooks() = default;

  // Before the checks of anything that changes a file or makes a name; it must not be held when a
  // handle is dropped.
  [[nodiscard]] virtual ChangeScope change_scope() { return {}; }
  // Before the checks of a rename, held to its end: nobody can change what it commits. An error
  // refuses the rename.
  [[nodiscard]] virtual Result<CommitScope> commit_scope(const NameInTree& /*from*/,
                                                         const NameInTree& /*to*/) {
    return CommitScope();
  }

  // False: before_change() need not be called for files that are opened for writing or truncated.
  // Those requests name an inode, and finding its directory and name costs four system calls.
  [[nodiscard]] virtual bool guards_writes() const { return true; }

  // Before something is created, opened for writing or truncated. An error refuses it with its
  // errno. Removals are never refused: whoever may remove a file may take its map output back.
  virtual Status before_change(const NameInTree& /*target*/) { return ok(); }
  virtual Status before_rename(const NameInTree& /*from*/, const NameInTree& /*to*/) {
    return ok();
  }
  // Before its attributes change, or it gets another name.
  virtual Status before_attributes(const NameInTree& /*target*/) { return ok(); }
  // Before a file that has `links` names gets that one too, after before_change().
  virtual Status before_link(const NameInTree& /*to*/, nlink_t /*links*/) { return ok(); }

  virtual void after_rename(const NameInTree& /*from*/, const NameInTree& /*to*/) {}
  virtual void after_link(const NameInTree& /*to*/) {}
  virtual void after_remove(const NameInTree& /*target*/, bool /*was_directory*/) {}
  // The last close of a file that was open for writing, after it has been closed; `path` is where
  // it is now (empty if it was unlinked).
  virtual void after_write_close(const std::string& /*path*/) {}
  // An extended attribute of the file or directory at `path` was set or removed.
  virtual void after_attribute(const std::string& /*path*/, std::string_view /*attribute*/) {}
};

}  // namespace shufflefs::fs
