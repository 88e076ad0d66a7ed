#include "merge/local_maps.h"

#include <algorithm>

namespace shufflefs::merge {

bool LocalMaps::add(MapOutput output) {
  const std::lock_guard lock(mu_);
  const auto [it, added] = outputs_[output.shuffle].try_emplace(output.map, output);
  if (!added) return false;
  last_commit_ = std::max(output.commit, last_commit_ + 1);
  it->second.commit = last_commit_;
  bytes_[output.shuffle.app] += output.total_bytes;
  by_path_[output.data_path] = {output.shuffle, output.map};
  if (!output.index_path.empty()) by_path_[output.index_path] = {output.shuffle, output.map};
  return true;
}

std::optional<MapOutput> LocalMaps::remove(const ShuffleKey& shuffle, MapId map) {
  const std::lock_guard lock(mu_);
  const auto of_shuffle = outputs_.find(shuffle);
  if (of_shuffle == outputs_.end()) return std::nullopt;
  const auto it = of_shuffle->second.find(map);
  if (it == of_shuffle->second.end()) return std::nullopt;
  MapOutput removed = std::move(it->second);
  of_shuffle->second.erase(it);
  if (of_shuffle->second.empty()) outputs_.erase(of_shuffle);
  const auto bytes = bytes_.find(shuffle.app);
  bytes->second -= removed.total_bytes;
  if (bytes->second == 0) bytes_.erase(bytes);
  by_path_.erase(removed.data_path);
  by_path_.erase(removed.index_path);
  return removed;
}

std::optional<MapOutput> LocalMaps::remove_by_path(const std::string& path) {
  std::pair<ShuffleKey, MapId> key;
  {
    const std::lock_guard lock(mu_);
    const auto it = by_path_.find(path);
    if (it == by_path_.end()) return std::nullopt;
    key = it->second;
  }
  return remove(key.first, key.second);
}

std::optional<MapOutput> LocalMaps::find(const ShuffleKey& shuffle, MapId map) const {
  const std::lock_guard lock(mu_);
  const auto of_shuffle = outputs_.find(shuffle);
  if (of_shuffle == outputs_.end()) return std::nullopt;
  const auto it = of_shuffle->second.find(map);
  if (it == of_shuffle->second.end()) return std::nullopt;
  return it->second;
}

std::vector<MapOutput> LocalMaps::of(const ShuffleKey& shuffle) const {
  const std::lock_guard lock(mu_);
  std::vector<MapOutput> outputs;
  const auto of_shuffle = outputs_.find(shuffle);
  if (of_shuffle == outputs_.end()) return outputs;
  outputs.reserve(of_shuffle->second.size());
  for (const auto& [map, output] : of_shuffle->second) outputs.push_back(output);
  return outputs;
}

std::vector<ShuffleKey> LocalMaps::shuffles() const {
  const std::lock_guard lock(mu_);
  std::vector<ShuffleKey> keys;
  keys.reserve(outputs_.size());
  for (const auto& [key, outputs] : outputs_) keys.push_back(key);
  return keys;
}

uint64_t LocalMaps::bytes_of(const AppId& app) const {
  const std::lock_guard lock(mu_);
  const auto it = bytes_.find(app);
  return it != bytes_.end() ? it->second : 0;
}

uint32_t LocalMaps::partition_count(const ShuffleKey& shuffle) const {
  const std::lock_guard lock(mu_);
  uint32_t count = 0;
  const auto of_shuffle = outputs_.find(shuffle);
  if (of_shuffle == outputs_.end()) return count;
  for (const auto& [map, output] : of_shuffle->second)
    count = std::max(count, output.partition_count);
  return count;
}

}  // namespace shufflefs::merge
