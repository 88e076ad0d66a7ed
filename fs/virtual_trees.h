// The native trees inside the virtual half: local/disk<i>, and maps/ of each shuffle that somebody
// looked at here.
//
// Threads: any; own lock. Ownership: owns the hooks, for its whole life, because the kernel may
// know a tree longer than we show it. Failure: errors of the disk. Cost: a descriptor for each
// shown shuffle; a stat at each look-up, and one for each shown shuffle when another one is added.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_watch.h"
#include "fs/generic_maps.h"
#include "fs/native_trees.h"
#include "merge/engine.h"

namespace shufflefs::fs {

class VirtualTrees {
 public:
  // `changed` is called on a FUSE thread after a commit or a removal in the shuffle's maps/.
  VirtualTrees(NativeFs& native, merge::Engine& engine,
               std::function<void(const merge::ShuffleKey&)> changed);

  // Once, before the mount is up: shows the engine's disks.
  [[nodiscard]] Status add_disks();
  // Then: shows again the maps/ that a worker before us had shown.
  void restore();
  [[nodiscard]] std::size_t disks() const { return disks_.size(); }

  // Entries for lookups of the trees' roots; each has been counted, so reply it or give it back.
  [[nodiscard]] Result<fuse_entry_param> disk(std::size_t index);
  // `directory` is where the shuffle's generic map outputs are now (a dropped and new shuffle has a
  // new one).
  [[nodiscard]] Result<fuse_entry_param> maps(const merge::ShuffleKey& key,
                                              const std::string& directory);
  void give_back(const fuse_entry_param& entry) { native_.forget(entry.ino, 1); }
  // After a drop.
  void remove_app(const merge::AppId& app);
  void remove_shuffle(const merge::ShuffleKey& key);

 private:
  struct Shown {
    TreeId tree{};
    std::string directory;
    uint64_t device = 0;
    uint64_t inode = 0;

    [[nodiscard]] bool is_still_there() const;
  };
  [[nodiscard]] std::unique_ptr<GenericMaps> make_hooks(const merge::ShuffleKey& key,
                                                        std::string root);
  // Lets go of what was dropped from another node.
  void forget_dropped_locked() REQUIRES(mu_);
  [[nodiscard]] Result<TreeId> shown_tree(const merge::ShuffleKey& key,
                                          const std::string& directory);

  NativeFs& native_;
  merge::Engine& engine_;
  const std::function<void(const merge::ShuffleKey&)> changed_;
  CommitWatch commit_watch_;
  std::vector<TreeId> disks_;  // constant after add_disks()
  Mutex mu_;
  std::map<merge::ShuffleKey, Shown> shown_ GUARDED_BY(mu_);
  // About 300 bytes each, kept to the end.
  std::vector<std::unique_ptr<GenericMaps>> hooks_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
