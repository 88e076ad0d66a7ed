// The native trees, directories of data disks shown through the mount, and the way from the
// kernel's nodeids to their files. What the virtual part needs of the native part is here: add a
// tree, answer a lookup with its root, remove it.
//
// Threads: any. Ownership: a Tree stays alive while somebody holds it or the kernel knows one of
// its inodes; the hooks must outlive it. Failure: errno untouched; adding a tree gives an Error
// that names the path. Cost: a lookup is four system calls on the disk, opening a known inode is
// one.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "fs/handle_table.h"
#include "fs/inode_table.h"
#include "fs/os_result.h"
#include "fs/tree_hooks.h"

namespace shufflefs::fs {

struct TreeOptions {
  // How long the kernel may remember names (also missing ones) and attributes. Long, because the
  // mount is the only writer; 0 where the daemon itself changes the tree.
  double cache_seconds = 60.0;
};

struct Tree {
  // Constant after construction.
  TreeId id{};
  std::string path;
  Fd mount_fd;  // the root directory, opened for reading: what open_by_handle_at and fstatvfs want
  Fd quiet_clone;     // a private clone of the disk's mount with noatime, see open_for_passthrough
  Fd quiet_mount_fd;  // its root; none if it could not be made
  TreeHooks* hooks = nullptr;
  TreeOptions options;
  uint64_t device = 0;
  uint64_t root_inode = 0;
  bool has_handles = false;
  uint64_t inode_tag = 0;  // see NativeFs::shown_inode

  // How many nodes of the tree the kernel knows, and whether it may go with the last of them.
  // GUARDED_BY(NativeFs::mu_)
  mutable uint64_t known_nodes = 0;
  mutable bool removed = false;
};

// An inode that is being worked on.
struct Node {
  std::shared_ptr<const Tree> tree;
  Fd fd;  // O_PATH, unless opened otherwise
  uint64_t nodeid = 0;
  mode_t type = 0;  // S_IFMT bits
  bool is_root = false;
};

class NativeFs {
 public:
  explicit NativeFs(HandleTable& handles) : handles_(handles) {}

  // ---- for the virtual part
  // -------------------------------------------------------------------------------------

  // Shows the directory `path`. The hooks outlive every use of the tree.
  Result<TreeId> add_tree(const std::string& path, TreeHooks& hooks, TreeOptions options = {});
  // lookup_root() fails from now on; what the kernel still knows of the tree goes on working until
  // it is forgotten.
  void remove_tree(TreeId id);
  // The entry to answer a lookup with: counts a lookup of the root, so it must be replied
  // (reply_entry of operations.h) or given back by forget().
  Result<fuse_entry_param> lookup_root(TreeId id);

  // ---- for the operations
  // ---------------------------------------------------------------------------------------

  OsResult<Node> node(fuse_ino_t ino);             // with an O_PATH descriptor
  OsResult<Node> open(fuse_ino_t ino, int flags);  // regular files and directories only, else ENXIO
  // The file once more, for the kernel to read and write by itself: without updates of the access
  // time, which cost 40 ns of the 160 ns that passthrough adds to a read, and an inode to write for
  // each file read. Empty if that cannot be had.
  Fd open_for_passthrough(fuse_ino_t ino);
  OsResult<fuse_entry_param> lookup(const Node& directory, const char* name);
  // Counts a lookup of the file behind an open descriptor.
  OsResult<fuse_entry_param> enter(const std::shared_ptr<const Tree>& tree, Fd fd);
  void forget(fuse_ino_t ino, uint64_t count);
  // `fd` is open (O_PATH) on a directory that has just been removed. If the kernel knows it, the
  // descriptor is kept until it is forgotten: it may be somebody's working directory, and a handle
  // of a removed directory is stale.
  void keep_removed_directory(const Tree& tree, Fd fd);

  // The inode number that programs see. Two disks have the same numbers, but the mount is one
  // device, and `tar` or `cp` take equal numbers for hard links: each further disk's numbers are
  // made different by its top bits.
  static ino_t shown_inode(const Tree& tree, ino_t inode) { return inode ^ tree.inode_tag; }

  // One descriptor per different device that the trees are on.
  [[nodiscard]] std::vector<std::shared_ptr<const Tree>> trees_by_device() const;
  [[nodiscard]] std::size_t known_inodes() const { return inodes_.size(); }

 private:
  [[nodiscard]] std::shared_ptr<const Tree> tree(TreeId id) const;
  OsResult<Node> open_record(const InodeRecord& record, int flags);

  HandleTable& handles_;
  InodeTable inodes_;
  mutable std::mutex mu_;
  uint32_t next_tree_ = 1;                               // GUARDED_BY(mu_)
  std::map<TreeId, std::shared_ptr<const Tree>> trees_;  // GUARDED_BY(mu_)
  std::map<uint64_t, uint64_t> tag_by_device_;           // GUARDED_BY(mu_)
};

}  // namespace shufflefs::fs
