// The committed map outputs of this node. What is on disk is the truth; this is the list of it.
//
// Threads: any. Memory: about 500 bytes for a map output, whatever its partition count.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/seeded_hash.h"
#include "merge/map_output.h"

namespace shufflefs::merge {

class LocalMaps {
 public:
  // False if the map id is there already (the first commit wins; map ids are unique, as Spark's
  // attempt ids are).
  bool add(MapOutput output);
  std::optional<MapOutput> remove(const ShuffleKey& shuffle, MapId map);
  // Forgets the map output whose data or index file this is.
  std::optional<MapOutput> remove_by_path(const std::string& path);
  [[nodiscard]] std::optional<MapOutput> find(const ShuffleKey& shuffle, MapId map) const;
  [[nodiscard]] std::vector<MapOutput> of(const ShuffleKey& shuffle) const;  // by map id
  [[nodiscard]] std::vector<ShuffleKey> shuffles() const;
  [[nodiscard]] uint64_t bytes_of(const AppId& app) const;
  // The largest of the shuffle's outputs; 0 if there is none.
  [[nodiscard]] uint32_t partition_count(const ShuffleKey& shuffle) const;

 private:
  mutable std::mutex mu_;
  // All GUARDED_BY(mu_):
  std::map<ShuffleKey, std::map<MapId, MapOutput>> outputs_;
  std::unordered_map<std::string, std::pair<ShuffleKey, MapId>, SeededHash> by_path_;
  uint64_t last_commit_ = 0;
  std::map<AppId, uint64_t> bytes_;  // of each application that has any
};

}  // namespace shufflefs::merge
