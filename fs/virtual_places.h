// What this node itself knows of applications and shuffles, without asking anybody: its disks, what
// the engine has, and the empty applications, which were made here with mkdir or whose last shuffle
// was removed here. Only those are remembered in memory, so an empty application is seen on its
// node alone; it survives a worker's death (saved_memory.h), not the end of the mount.
//
// Threads: any; own lock. Ownership: the engine outlives it. Failure: errors of the disk with their
// errno. Cost: a stat or two; Spark's map outputs of a shuffle are listed at most once a second.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "fs/saved_memory.h"
#include "merge/engine.h"

namespace shufflefs::fs {

using Owner = merge::FileOwner;

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
  static constexpr std::size_t kMostApps = 10000;  // empty ones
  static constexpr std::size_t kMostListings = 16;

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

}  // namespace shufflefs::fs
