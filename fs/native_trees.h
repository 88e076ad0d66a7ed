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

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "fs/native_tables.h"
#include "fs/os_files.h"
#include "fs/passthrough.h"
#include "fs/saved_state.h"
#include "fs/saved_tables.h"
#include "fs/tree_hooks.h"

namespace shufflefs::fs {

// Of a tree that must be found again after a worker's death; plain data.
struct TreeRecord {
  static constexpr std::size_t kLabelBytes = 216;
  TreeId id{};
  uint32_t removed = 0;
  uint64_t device = 0;
  uint64_t root_inode = 0;
  FileHandle root;
  std::array<char, kLabelBytes> label{};  // whose tree it is, in its owner's words; ends in a zero

  [[nodiscard]] bool is_sound() const { return root.is_sound() && label.back() == 0; }
};

struct TreeOptions {
  // How long the kernel may remember names (also missing ones) and attributes. Long, because the
  // mount is the only writer; 0 where the daemon itself changes the tree.
  double cache_seconds = 60.0;
  // Not empty: the tree is saved under this label, for restore_tree() after a worker's death.
  std::string label{};
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
};

// `root` is open for reading on the tree's root directory; the id and the tag are still to be set.
[[nodiscard]] Result<std::shared_ptr<Tree>> make_tree(const std::string& path, Fd root,
                                                      TreeHooks& hooks, TreeOptions options);

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
  // The files that `state` brings along are known at once, but can be used only when their trees
  // are there again: add_tree(), restore_tree(), then restore_open_files().
  NativeFs(HandleTable& handles, SavedState& state, KeptFiles* kept);
  explicit NativeFs(HandleTable& handles);  // for tests: nothing outlives it

  // ---- for the virtual part

  // Shows the directory `path`. The hooks outlive every use of the tree.
  Result<TreeId> add_tree(const std::string& path, TreeHooks& hooks, TreeOptions options = {});
  // The trees with a label that a worker before us had shown.
  [[nodiscard]] std::vector<TreeRecord> saved_trees() const;
  // Shows such a tree again, under its old id; false if it is gone. What the kernel knows of it is
  // reachable even if the directory has been moved since.
  // Where the disk has no handles, `path` is opened, if it is still the same directory.
  bool restore_tree(const TreeRecord& record, const std::string& path, TreeHooks& hooks);
  // lookup_root() fails from now on; what the kernel still knows of the tree goes on working until
  // it is forgotten.
  void remove_tree(TreeId id);
  // The entry to answer a lookup with: counts a lookup of the root, so it must be replied
  // (reply_entry of operations.h) or given back by forget().
  Result<fuse_entry_param> lookup_root(TreeId id);

  // Opens once more what was open when a worker before us died; returns how many files could not
  // be. After the trees, before the first request.
  std::size_t restore_open_files(Passthrough& passthrough);

  // ---- for the operations

  OsResult<Node> node(fuse_ino_t ino);             // with an O_PATH descriptor
  OsResult<Node> open(fuse_ino_t ino, int flags);  // regular files and directories only, else ENXIO
  // The file once more, for the kernel to read and write by itself, without updates of the access
  // time: they cost 40 ns a read and an inode to write a file. Empty if that cannot be had.
  Fd open_for_passthrough(fuse_ino_t ino);
  OsResult<fuse_entry_param> lookup(const Node& directory, const char* name);
  // Counts a lookup of the file behind an open descriptor.
  OsResult<fuse_entry_param> enter(const std::shared_ptr<const Tree>& tree, Fd& fd);
  void forget(fuse_ino_t ino, uint64_t count);
  // Around the removal or replacement of a name. Whoever has just found the file may still open it
  // by its nodeid or use it without telling us (a working directory, an open fifo), but its handle
  // is stale. So a descriptor is held until the kernel forgets the file, which it does at once
  // where nobody uses it. That delays the return of its space: an unlinked regular file is held
  // only if it was looked up more than once, as the kernel looks again when its first open fails.
  class Removal {
   public:
    enum class Kind { kReplaced, kUnlinked };
    Removal(NativeFs& native, const Node& directory, const char* name, Kind kind);
    ~Removal();
    Removal(const Removal&) = delete;
    Removal& operator=(const Removal&) = delete;
    void done();  // the name is gone

   private:
    InodeTable& inodes_;
    uint64_t nodeid_ = 0;  // 0: nothing is held
    InodeTable::Removal how_{};
  };
  // `name` is about to lose its file. If that is open in the ordinary mode, a descriptor is kept
  // where it outlives us: nothing else would hold the file while a new worker starts.
  void keep_if_open(const Node& directory, const char* name);
  // The same for a file that never had a name.
  void keep_open(const OpenFile& file);
  // How long the kernel may remember the attributes of that inode. Not at all while somebody may
  // have it mapped for stores: in passthrough mode the kernel does not notice that a store has
  // changed the modification time. It forgets them itself with each write.
  [[nodiscard]] double attribute_seconds(const Tree& tree, fuse_ino_t ino) const {
    const bool may_change = stores_pass_by_ && handles_.may_be_mapped(ino);
    return may_change ? 0 : tree.options.cache_seconds;
  }
  // Without passthrough every store reaches us as a write, of which the kernel knows.
  void set_stores_pass_by(bool pass_by) { stores_pass_by_ = pass_by; }

  // The inode number that programs see. Two disks have the same numbers, but the mount is one
  // device, and `tar` takes equal numbers for hard links: the top bits say which disk it is.
  static ino_t shown_inode(const Tree& tree, ino_t inode) { return inode ^ tree.inode_tag; }

  // Whether the mount has that file open for writing. Any thread.
  [[nodiscard]] bool is_open_for_writing(uint64_t device, uint64_t inode) const {
    return handles_.has_writer(inodes_.nodeid_of(device, inode));
  }

  // One descriptor per different device that the trees are on.
  [[nodiscard]] std::vector<std::shared_ptr<const Tree>> trees_by_device() const;
  [[nodiscard]] std::size_t known_inodes() const { return inodes_.size(); }

 private:
  static constexpr unsigned kNextLabelled = 0;  // a counter of saved_trees_
  // Of trees with a label; the others are the disks, which get theirs in the order of the
  // configuration.
  static constexpr uint32_t kFirstLabelled = 1U << 16U;

  struct Shown {
    std::shared_ptr<const Tree> tree;
    std::optional<uint32_t> record;  // its number in the saved table
    bool removed = false;            // goes with the last of its nodes
    uint64_t known_nodes = 0;        // to the kernel
  };
  using Trees = std::map<TreeId, Shown>;

  [[nodiscard]] std::shared_ptr<const Tree> tree(TreeId id) const EXCLUDES(mu_);
  // Gives it its id; the number of its record.
  uint32_t save(Tree& added) REQUIRES(mu_);
  void publish(const std::shared_ptr<Tree>& added, std::optional<uint32_t> record, bool removed)
      REQUIRES(mu_);
  void erase(Trees::iterator it) REQUIRES(mu_);
  OsResult<Node> open_record(const InodeRecord& record, int flags);

  void restore_one(const OpenRecord& record, Passthrough& passthrough, std::size_t& lost);

  HandleTable& handles_;
  InodeTable inodes_;
  std::atomic<bool> stores_pass_by_ = true;
  mutable Mutex mu_;
  SavedTable<TreeRecord> saved_trees_ GUARDED_BY(mu_);
  uint32_t next_tree_ GUARDED_BY(mu_) = 1;
  Trees trees_ GUARDED_BY(mu_);
  std::map<uint64_t, uint64_t> tag_by_device_ GUARDED_BY(mu_);
  std::map<TreeId, uint64_t> known_before_ GUARDED_BY(mu_);  // nodes, at start
};

}  // namespace shufflefs::fs
