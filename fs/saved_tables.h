// A table of fixed-size records in a memory file (memfd) that outlives the process that writes it:
// the supervisor holds the file, a worker maps it, and the next worker finds every record that was
// complete when the last one was killed.
//
// What is found is input all the same: a record that cannot be one (its is_sound() says so) is left
// out and logged (mount.saved_record_lost), and a file of another layout or size is refused.
//
// Crash rule: a record counts once its slot is marked, and is marked only after it has been
// written. A process that is killed has done its stores in program order up to some point, so a
// release store is enough: no log, no flush. Nothing survives the supervisor, nor does the mount.
//
// Threads: add() and remove() from any; what is in a record is its users' to guard. Failure:
// construction throws std::runtime_error (no memory, or another layout), before the mount is
// served; growing beyond the machine's memory is fatal. Cost: a record's size and 8 bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"

namespace shufflefs::fs {

// The untyped part of SavedTable.
class SavedMemory {
 public:
  static constexpr unsigned kCounters = 32;

  // An empty `file` means memory that nobody else knows. `name` is for messages and /proc.
  // `max_bytes` is address space, not memory: the file behind it grows as records come.
  SavedMemory(Fd file, const char* name, uint32_t slot_bytes,
              std::size_t max_bytes = std::size_t{1} << 30U);
  ~SavedMemory();
  SavedMemory(const SavedMemory&) = delete;
  SavedMemory& operator=(const SavedMemory&) = delete;

  [[nodiscard]] std::byte* slot(uint32_t number) const;
  // The number of a free slot; the caller marks it.
  uint32_t take();
  void give_back(uint32_t number);
  [[nodiscard]] uint32_t slots() const {
    const MutexLock lock(mu_);
    return slots_;
  }
  // Numbers that the table's owner keeps with it, such as the next id to give out.
  [[nodiscard]] uint64_t& counter(unsigned number) const;
  // Called once, before the first take(), with the slots that are free below slots().
  void set_free(std::vector<uint32_t> free) {
    const MutexLock lock(mu_);
    free_ = std::move(free);
  }
  // Says that so many records were left out.
  void log_lost(std::size_t records) const;

 private:
  struct Header;
  void initialise(uint32_t slot_bytes);
  void grow() REQUIRES(mu_);
  [[nodiscard]] Header& header() const { return *reinterpret_cast<Header*>(base_); }

  const Fd file_;
  const char* const name_;
  const uint32_t slot_bytes_;
  const std::size_t max_bytes_;
  std::byte* base_ = nullptr;
  mutable Mutex mu_;
  uint32_t slots_ GUARDED_BY(mu_) = 0;
  std::vector<uint32_t> free_ GUARDED_BY(mu_);
};

// Record: trivially copyable, without bool (whose other values are undefined); if it has an
// is_sound(), that is asked of each record that is found.
template <class Record>
class SavedTable {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  // 1 GiB of address space is room for several million records.
  SavedTable(Fd file, const char* name, std::size_t max_bytes = std::size_t{1} << 30U)
      : memory_(std::move(file), name, sizeof(Slot), max_bytes) {
    std::vector<uint32_t> free;
    std::size_t lost = 0;
    for (uint32_t i = memory_.slots(); i-- > 0;) {
      Slot& slot = at(i);
      if constexpr (requires(const Record& record) {
                      { record.is_sound() } -> std::same_as<bool>;
                    }) {
        if (slot.in_use != 0 && !slot.record.is_sound()) {
          slot.in_use = 0;
          ++lost;
        }
      }
      if (slot.in_use == 0) free.push_back(i);
    }
    memory_.set_free(std::move(free));
    if (lost > 0) memory_.log_lost(lost);
  }

  uint32_t add(const Record& record) {
    const uint32_t number = memory_.take();
    Slot& slot = at(number);
    slot.record = record;
    std::atomic_ref(slot.in_use).store(1, std::memory_order_release);
    return number;
  }
  void remove(uint32_t number) {
    std::atomic_ref(at(number).in_use).store(0, std::memory_order_release);
    memory_.give_back(number);
  }
  // Stays where it is for as long as the record is there.
  [[nodiscard]] Record& operator[](uint32_t number) { return at(number).record; }
  [[nodiscard]] const Record& operator[](uint32_t number) const { return at(number).record; }
  [[nodiscard]] uint64_t& counter(unsigned number) { return memory_.counter(number); }

  // The numbers of all records. Only before others use the table.
  [[nodiscard]] std::vector<uint32_t> all() const {
    std::vector<uint32_t> numbers;
    for (uint32_t i = 0; i < memory_.slots(); ++i) {
      if (at(i).in_use != 0) numbers.push_back(i);
    }
    return numbers;
  }

 private:
  struct Slot {
    uint64_t in_use;
    Record record;
  };
  [[nodiscard]] Slot& at(uint32_t number) const {
    return *reinterpret_cast<Slot*>(memory_.slot(number));
  }

  SavedMemory memory_;
};

// What is open, by key, with a record of each in memory that outlives the worker (saved_tables.h):
// the next worker opens it again under the same key. A record carries the number of the request
// that opened it: a request that comes again after a worker's death finds what its first execution
// had opened, as the kernel never learnt of it.
//
// Threads: its holder's lock guards all of it. Ownership: holds the opens. Failure: an unknown key
// gives nothing. Cost: one hash look-up.
//
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
