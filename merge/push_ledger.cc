#include "merge/push_ledger.h"

namespace shufflefs::merge {

void PushLedger::planned(const ShuffleKey& shuffle, MapId map, uint64_t chunks,
                         uint64_t blocks_left_home, uint64_t bytes_left_home) {
  const std::lock_guard lock(mu_);
  entries_[shuffle][map] = Entry{false, chunks, blocks_left_home, bytes_left_home, {}};
}

void PushLedger::chunks_added(const ShuffleKey& shuffle, MapId map, uint64_t chunks) {
  const std::lock_guard lock(mu_);
  if (Entry* const entry = find(shuffle, map); entry != nullptr) entry->chunks_open += chunks;
}

void PushLedger::unpushed(const ShuffleKey& shuffle, MapId map) {
  const std::lock_guard lock(mu_);
  entries_[shuffle][map].pushed_off = true;
}

PushLedger::Entry* PushLedger::find(const ShuffleKey& shuffle, MapId map) {
  const auto of_shuffle = entries_.find(shuffle);
  if (of_shuffle == entries_.end()) return nullptr;
  const auto it = of_shuffle->second.find(map);
  return it != of_shuffle->second.end() ? &it->second : nullptr;
}

void PushLedger::chunk_merged(const ShuffleKey& shuffle, MapId map) {
  const std::lock_guard lock(mu_);
  Entry* entry = find(shuffle, map);
  if (entry != nullptr && entry->chunks_open > 0) --entry->chunks_open;
}

void PushLedger::chunk_given_up(const ShuffleKey& shuffle, MapId map, const std::string& reason,
                                uint64_t blocks, uint64_t bytes) {
  const std::lock_guard lock(mu_);
  Entry* entry = find(shuffle, map);
  if (entry == nullptr) return;
  if (entry->chunks_open > 0) --entry->chunks_open;
  GivenUp& given_up = entry->given_up[reason];
  given_up.reason = reason;
  ++given_up.chunks;
  given_up.blocks += blocks;
  given_up.bytes += bytes;
}

void PushLedger::forget(const ShuffleKey& shuffle, MapId map) {
  const std::lock_guard lock(mu_);
  const auto it = entries_.find(shuffle);
  if (it == entries_.end()) return;
  it->second.erase(map);
  if (it->second.empty()) entries_.erase(it);
}

void PushLedger::add_to(const ShuffleKey& shuffle, ShuffleInfo& info) const {
  const std::lock_guard lock(mu_);
  const auto of_shuffle = entries_.find(shuffle);
  if (of_shuffle == entries_.end()) return;
  std::map<std::string, GivenUp> reasons;
  for (const auto& [map, entry] : of_shuffle->second) {
    info.blocks_left_home += entry.blocks_left_home;
    info.bytes_left_home += entry.bytes_left_home;
    for (const auto& [reason, given_up] : entry.given_up) {
      GivenUp& sum = reasons[reason];
      sum.reason = reason;
      sum.chunks += given_up.chunks;
      sum.blocks += given_up.blocks;
      sum.bytes += given_up.bytes;
    }
    if (!entry.given_up.empty())
      ++info.maps_given_up;
    else if (entry.pushed_off)
      ++info.maps_unpushed;
    else if (entry.chunks_open == 0)
      ++info.maps_settled;
  }
  for (auto& [reason, given_up] : reasons) info.given_up.push_back(std::move(given_up));
}

}  // namespace shufflefs::merge
