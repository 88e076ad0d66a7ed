// What the table answers; the contract is in merge/shuffle_table.h.
#include <fmt/format.h>

#include <algorithm>

#include "merge/shuffle_table.h"

namespace shufflefs::merge {

std::optional<bool> bit_of(const std::vector<PartitionBits>& ranges, PartitionId partition) {
  for (const PartitionBits& range : ranges) {
    if (number(partition) < range.first || number(partition) - range.first >= range.count) continue;
    const uint32_t at = number(partition) - range.first;
    const uint32_t byte = at / 8;
    if (byte < range.skipped_bytes || byte - range.skipped_bytes >= range.non_empty.size())
      return false;
    return (range.non_empty[byte - range.skipped_bytes] >> (at % 8U) & 1U) != 0;
  }
  return std::nullopt;
}

const ShuffleTable::Local* ShuffleTable::local(const MapOutput& output) const {
  const Shuffle* const of = look(output.shuffle);
  if (of == nullptr) return nullptr;
  const auto it = of->local.find(output.map);
  if (it == of->local.end() || it->second.output->commit != output.commit) return nullptr;
  return &it->second;
}

uint64_t ShuffleTable::life_of(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  return life_locked(key);
}

MapOutputRef ShuffleTable::find(const ShuffleKey& key, MapId map) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  if (of == nullptr) return nullptr;
  const auto it = of->local.find(map);
  return it != of->local.end() ? it->second.output : nullptr;
}

bool ShuffleTable::is_current(const MapOutput& output) const {
  const MutexLock lock(mu_);
  return local(output) != nullptr;
}

std::vector<MapOutputRef> ShuffleTable::of(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  std::vector<MapOutputRef> outputs;
  const Shuffle* const of = look(key);
  if (of == nullptr) return outputs;
  outputs.reserve(of->local.size());
  for (const auto& [map, local] : of->local) outputs.push_back(local.output);
  return outputs;
}

std::vector<MapOutputRef> ShuffleTable::all() const {
  const MutexLock lock(mu_);
  std::vector<MapOutputRef> outputs;
  for (const auto& [key, of] : shuffles_) {
    for (const auto& [map, local] : of->local) outputs.push_back(local.output);
  }
  return outputs;
}

std::vector<ShuffleKey> ShuffleTable::shuffles() const {
  const MutexLock lock(mu_);
  std::vector<ShuffleKey> keys;
  for (const auto& [key, of] : shuffles_) {
    if (!is_empty(*of)) keys.push_back(key);
  }
  return keys;
}

bool ShuffleTable::has_own(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  return of != nullptr && !of->local.empty();
}

uint64_t ShuffleTable::bytes_of(const AppId& app) const {
  const MutexLock lock(mu_);
  const auto it = bytes_.find(app);
  return it != bytes_.end() ? it->second : 0;
}

uint32_t ShuffleTable::partition_count(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  return of != nullptr ? of->partition_count : 0;
}

std::vector<std::string> ShuffleTable::refusals(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  if (of == nullptr) return {};
  return {of->refused.begin(), of->refused.end()};
}

std::optional<std::string> ShuffleTable::loss_of(const MapOutput& output) const {
  const MutexLock lock(mu_);
  const Local* const known = local(output);
  return known != nullptr ? known->lost : std::nullopt;
}

uint64_t ShuffleTable::lost_maps() const {
  const MutexLock lock(mu_);
  return lost_;
}

std::optional<CommitId> ShuffleTable::current(const Shuffle& shuffle, MapId map) const {
  std::optional<CommitId> found;
  if (const auto own = shuffle.local.find(map); own != shuffle.local.end())
    found = CommitId{own->second.output->commit, self_tag_};
  const auto [first, last] = shuffle.remote.equal_range(map);
  for (auto it = first; it != last; ++it)
    found = std::max(found, std::optional(CommitId{it->second.commit,
                                                   tag_of(shuffle.origins[it->second.origin])}));
  return found;
}

void ShuffleTable::describe(const ShuffleKey& key, PartitionId partition, PartitionInfo& info,
                            std::vector<MapOutputRef>& own) const {
  const MutexLock lock(mu_);
  info.life = life_locked(key);
  const Shuffle* const of = look(key);
  if (of == nullptr) return;
  info.known = info.known || !is_empty(*of);
  info.partition_count = std::max(info.partition_count, of->partition_count);
  for (const auto& [map, local] : of->local) {
    info.own.push_back({map, local.output->commit, 0, local.lost.has_value()});
    own.push_back(local.output);
  }
  for (const auto& [map, remote] : of->remote) {
    // A partition beyond the output's count is an empty block of it.
    const auto bit = number(partition) < remote.partition_count ? bit_of(remote.ranges, partition)
                                                                : std::optional(false);
    // Whoever is no candidate was told of no range: it need not be listed. A node that has become
    // one meanwhile cannot speak for the origin until it is told again.
    const NodeName& origin = of->origins[remote.origin];
    if (bit || !remote.ranges.empty())
      info.heard.push_back({map, origin, remote.commit, bit});
    else if (std::ranges::find(info.unheard, origin) == info.unheard.end())
      info.unheard.push_back(origin);
  }
  for (const auto& [tag, tombstones] : of->ended) {
    if (tombstones.ranges.empty() && tombstones.maps.empty()) continue;
    EndedAt& ended = info.ended.emplace_back(EndedAt{tag, tombstones.ranges.list(), {}});
    for (const auto& [map, commit] : tombstones.maps) ended.maps.push_back({map, commit});
  }
}

std::vector<HeardBlock> ShuffleTable::later_than(const ShuffleKey& key,
                                                 const std::vector<MergedBlock>& merged) const {
  const MutexLock lock(mu_);
  std::vector<HeardBlock> later;
  const Shuffle* const of = look(key);
  if (of == nullptr) return later;
  for (const MergedBlock& block : merged) {
    const auto counts = current(*of, block.map);
    if (!counts || *counts <= block.id) continue;
    const auto origin = std::ranges::find(of->origins, counts->origin, tag_of);
    later.push_back(
        {block.map, origin != of->origins.end() ? *origin : self_, counts->commit, std::nullopt});
  }
  return later;
}

void ShuffleTable::describe(const ShuffleKey& key, ShuffleInfo& info) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  if (of == nullptr) return;
  info.partition_count = std::max(info.partition_count, of->partition_count);
  info.refused_commits.assign(of->refused.begin(), of->refused.end());
  std::map<std::string, GivenUp> reasons;
  for (const auto& [map, local] : of->local) {
    // A later commit of the map id counts instead, and is counted by its origin.
    if (current(*of, map) != CommitId{local.output->commit, self_tag_}) continue;
    ++info.maps;
    info.maps_lost += local.lost ? 1 : 0;
    info.bytes += local.output->total_bytes;
    info.blocks_left_home += local.blocks_left_home;
    info.bytes_left_home += local.bytes_left_home;
    if (local.given_up) {
      ++info.maps_given_up;
      for (const auto& [reason, given_up] : *local.given_up) {
        GivenUp& sum = reasons[reason];
        sum.reason = reason;
        sum.chunks += given_up.chunks;
        sum.blocks += given_up.blocks;
        sum.bytes += given_up.bytes;
      }
    } else if (local.is_unpushed) {
      ++info.maps_unpushed;
    } else if (local.is_planned && local.chunks_open == 0) {
      ++info.maps_settled;
    }
  }
  for (auto& [reason, given_up] : reasons) info.given_up.push_back(std::move(given_up));
}

Status ShuffleTable::check_push(const ShuffleKey& key, uint64_t life, MapId map,
                                const CommitId& id) const {
  const MutexLock lock(mu_);
  if (life < life_locked(key))
    return make_error(Code::kDropped, fmt::format("shuffle {} has been dropped", to_string(key)));
  const Shuffle* const of = look(key);
  if (of == nullptr || life > of->life) return ok();
  if (is_ended(*of, map, id))
    return make_error(Code::kDropped, fmt::format("map {} of shuffle {} has been removed",
                                                  number(map), to_string(key)));
  const auto counts = current(*of, map);
  if (counts && id < *counts)
    return make_error(Code::kDropped,
                      fmt::format("map {} of shuffle {} has been replaced by a later commit",
                                  number(map), to_string(key)));
  return ok();
}

bool ShuffleTable::is_over(const ShuffleKey& key) const {
  const MutexLock lock(mu_);
  const Shuffle* const of = look(key);
  return of != nullptr && is_empty(*of) && std::ranges::any_of(of->ended, [](const auto& entry) {
           return !entry.second.ranges.empty() || !entry.second.maps.empty();
         });
}

std::vector<EndedAt> ShuffleTable::ended_of(const ShuffleKey& key) const {
  PartitionInfo info;
  std::vector<MapOutputRef> own;
  describe(key, {}, info, own);
  return std::move(info.ended);
}

std::vector<NodeName> ShuffleTable::unheard(const std::vector<NodeName>& members) const {
  const MutexLock lock(mu_);
  std::vector<NodeName> names;
  std::ranges::copy_if(members, std::back_inserter(names), [this](const NodeName& name) {
    mu_.assert_held();
    return name != self_ && !heard_.contains(name);
  });
  return names;
}

// ---- news ----------------------------------------------------------------------------------------------------------

std::vector<ShuffleTable::News> ShuffleTable::news_after(uint64_t number, std::size_t max) const {
  const MutexLock lock(mu_);
  std::vector<News> list;
  for (auto it = news_.upper_bound(number); it != news_.end() && list.size() < max; ++it) {
    const NewsRef& ref = it->second;
    News& news = list.emplace_back();
    news.number = it->first;
    news.kind = ref.kind;
    news.shuffle = ref.shuffle;
    news.whole_app = ref.whole_app;
    if (ref.kind == News::Kind::kDropped) {
      const auto shuffle = ref.whole_app ? std::nullopt : std::optional(ref.shuffle.shuffle);
      news.life = lives_.at({ref.shuffle.app, shuffle}).life;
      continue;
    }
    const Shuffle& of = *shuffles_.at(ref.shuffle);
    news.life = of.life;
    switch (ref.kind) {
      case News::Kind::kCommitted: news.output = of.local.at(ref.map).output; break;
      case News::Kind::kEnded:
        news.ended = {ref.map, of.ended.at(self_tag_).maps.at(ref.map)};
        break;
      case News::Kind::kAllEnded:
        news.all_ended = of.ended.at(self_tag_).ranges.list().back();
        break;
      case News::Kind::kDropped: break;
    }
  }
  return list;
}

uint64_t ShuffleTable::last_news() const {
  const MutexLock lock(mu_);
  return news_.empty() ? 0 : news_.rbegin()->first;
}

uint64_t ShuffleTable::count_news_after(uint64_t number) const {
  const MutexLock lock(mu_);
  // Exact for few; an upper bound by their numbers for many.
  uint64_t count = 0;
  for (auto it = news_.upper_bound(number); it != news_.end(); ++it) {
    if (++count == 1000) return std::max<uint64_t>(count, news_.rbegin()->first - number);
  }
  return count;
}

}  // namespace shufflefs::merge
