// What this node itself has of applications and shuffles (VirtualPlaces), and which of their
// directories are shown as native trees (VirtualTrees).
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include <sys/types.h>

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/commit_hooks.h"
#include "fs/native_trees.h"
#include "fs/saved_tables.h"
#include "merge/engine.h"

namespace shufflefs::fs {

using Owner = merge::FileOwner;

// What this node itself knows of applications and shuffles: its disks, what the engine has, and the
// empty applications, which were made here with mkdir or whose last shuffle was removed here. An
// empty application is seen on its node alone; it survives a worker's death (saved_tables.h), not
// the end of the mount.
//
// Threads: any; own lock. Ownership: the engine outlives it. Failure: errors of the disk with their
// errno. Cost: a stat or two; Spark's map outputs of a shuffle are listed at most once a second.
class VirtualPlaces {
 public:
  explicit VirtualPlaces(merge::Engine& engine, Fd saved_apps = Fd());

  [[nodiscard]] bool has_app(const merge::AppId& app);
  [[nodiscard]] bool has_shuffle(const merge::ShuffleKey& key);
  [[nodiscard]] std::vector<merge::AppId> apps();
  [[nodiscard]] std::vector<merge::ShuffleId> shuffles(const merge::AppId& app);

  // kExists if it is there. The creator becomes the application's owner (kPermission if it is
  // another's).
  [[nodiscard]] Status make_app(const merge::AppId& app, Owner creator);
  [[nodiscard]] Status make_shuffle(const merge::ShuffleKey& key, Owner creator);
  // After a drop. As anywhere, a directory whose last entry is removed stays: here, the
  // application.
  void forget_app(const merge::AppId& app);
  void forget_shuffle(const merge::ShuffleKey& key, Owner app_owner);
  // Whose it is (merge/app_owners.h); root's, as long as this node does not know.
  [[nodiscard]] Owner owner_of(const merge::AppId& app);
  [[nodiscard]] bool knows_owner_of(const merge::AppId& app);

  // The directory of the shuffle's generic map outputs; made if it is not there, writable by the
  // application's owner.
  [[nodiscard]] Result<std::string> generic_directory(const merge::ShuffleKey& key);

  // Spark wrote map outputs here and nobody else did: maps/ is shown as a virtual directory of
  // them.
  [[nodiscard]] bool shows_spark_maps(const merge::ShuffleKey& key);
  [[nodiscard]] std::vector<merge::MapId> spark_maps(const merge::ShuffleKey& key);
  [[nodiscard]] std::optional<merge::MapOutput> spark_map(const merge::ShuffleKey& key,
                                                          merge::MapId map);

 private:
  using MapOutputs = std::map<merge::MapId, merge::MapOutput>;
  struct Listed {
    std::chrono::steady_clock::time_point when;
    std::shared_ptr<const MapOutputs> outputs;
  };
  static constexpr std::size_t kMaxApps = 10000;  // empty ones
  static constexpr std::size_t kMaxListings = 16;

  struct SavedApp {
    std::array<char, 204> name{};  // ends in a zero
    Owner owner;
  };
  void add_app_locked(const merge::AppId& app, Owner owner) REQUIRES(mu_);
  void erase_app_locked(const merge::AppId& app) REQUIRES(mu_);

  [[nodiscard]] std::shared_ptr<const MapOutputs> listed(const merge::ShuffleKey& key, bool fresh);
  [[nodiscard]] std::optional<std::string> existing_directory(const merge::ShuffleKey& key);
  [[nodiscard]] std::optional<Owner> owner_if_known(const merge::AppId& app);

  merge::Engine& engine_;
  Mutex mu_;
  // The empty ones, and where each is saved.
  SavedTable<SavedApp> saved_apps_ GUARDED_BY(mu_);
  std::map<merge::AppId, std::pair<Owner, uint32_t>> apps_ GUARDED_BY(mu_);
  std::map<merge::ShuffleKey, Listed> listings_ GUARDED_BY(mu_);
};

// The native trees inside the virtual half: local/disk<i>, and maps/ of each shuffle that somebody
// looked at here.
//
// Threads: any; own lock. Ownership: owns the hooks, for its whole life, because the kernel may
// know a tree longer than we show it. Failure: errors of the disk. Cost: a descriptor for each
// shown shuffle; a stat at each look-up, and one for each shown shuffle when another one is added.
class VirtualTrees {
 public:
  // `changed` is called on a FUSE thread after a commit or a removal in the shuffle's maps/.
  VirtualTrees(NativeFs& native, merge::Engine& engine,
               std::function<void(const merge::ShuffleKey&)> changed);

  // Once, before the mount is up: shows the engine's disks.
  [[nodiscard]] Status add_disks();
  // Then: shows again the maps/ that a worker before us had shown.
  void restore();

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
