// What is open, by key, with a record of each in memory that outlives the worker (saved_memory.h):
// the next worker opens it again under the same key. A record carries the number of the request
// that opened it: a request that comes again after a worker's death finds what its first execution
// had opened, as the kernel never learnt of it.
//
// Threads: its holder's lock guards all of it. Ownership: holds the opens. Failure: an unknown key
// gives nothing. Cost: one hash look-up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/saved_memory.h"

namespace shufflefs::fs {

// Record: trivially copyable, with uint64_t `key` and `request`.
template <class Record, class Open>
class SavedOpens {
 public:
  SavedOpens(Fd saved, const char* name) : records_(std::move(saved), name) {
    uint64_t& next = records_.counter(kNextKey);
    if (next == 0 || next >> 62U != 0) next = 1;
    for (const uint32_t at : records_.all()) {
      if (records_[at].key >= next) next = records_[at].key + 1;
      by_request_.emplace(records_[at].request, records_[at].key);
      to_restore_.emplace(records_[at].key, at);
    }
  }

  // Never 0, and given once in the life of the mount.
  [[nodiscard]] uint64_t next_key() { return records_.counter(kNextKey)++; }
  // REQUIRES: record.key is from next_key().
  void add(const Record& record, Open open) {
    opens_.emplace(record.key, Held{std::move(open), records_.add(record)});
  }

  // ---- at start, after a worker before us
  [[nodiscard]] std::vector<Record> saved() const {
    std::vector<Record> all;
    all.reserve(to_restore_.size());
    for (const auto& [key, at] : to_restore_) all.push_back(records_[at]);
    return all;
  }
  // REQUIRES: a record of saved(), once.
  void restore(const Record& record, Open open) {
    const auto at = to_restore_.extract(record.key);
    opens_.emplace(record.key, Held{std::move(open), at.mapped()});
  }
  // The key of what that request opened before the last restart; 0: nothing.
  [[nodiscard]] uint64_t key_of_request(uint64_t request) const {
    const auto it = by_request_.find(request);
    return it == by_request_.end() ? 0 : it->second;
  }

  [[nodiscard]] const Open* find(uint64_t key) const {
    const auto it = opens_.find(key);
    return it == opens_.end() ? nullptr : &it->second.open;
  }
  [[nodiscard]] std::optional<Open> remove(uint64_t key) {
    auto taken = opens_.extract(key);
    if (taken.empty()) return std::nullopt;
    records_.remove(taken.mapped().record);
    return std::move(taken.mapped().open);
  }
  // Their records stay, for the next worker.
  [[nodiscard]] std::vector<Open> remove_all() {
    std::vector<Open> all;
    all.reserve(opens_.size());
    for (auto& [key, held] : opens_) all.push_back(std::move(held.open));
    opens_.clear();
    return all;
  }
  [[nodiscard]] std::size_t size() const { return opens_.size(); }

 private:
  static constexpr unsigned kNextKey = 0;  // a counter of records_
  struct Held {
    Open open;
    uint32_t record = 0;  // in records_
  };
  SavedTable<Record> records_;
  std::unordered_map<uint64_t, Held> opens_;
  std::unordered_map<uint64_t, uint64_t> by_request_;  // of those from before the last restart
  std::unordered_map<uint64_t, uint32_t> to_restore_;  // key to record
};

}  // namespace shufflefs::fs
