// What was learnt about a virtual node by asking other nodes, kept for a moment, so that `ls -l`
// (lookup, then getattr, then getxattr of the same name) asks once and `tar` (stat, open, fstat)
// sees one size.
//
// Threads: any; own lock. Failure: none; what is not there is asked again. Cost: bounded: at most
// kCapacity entries, and texts only up to kTextBytes each. Opening a partition never uses it: an
// open is as of its own moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace shufflefs::fs {

struct Facts {
  uint64_t life = 0;  // VirtualContents::life_of() when it was asked for
  uint64_t size = 0;  // bytes of a file; partitions/: how many there are
  std::vector<std::pair<std::string, std::string>> attributes;  // extended attributes
  std::shared_ptr<const std::string> text;                      // of small generated files
};

class RecentFacts {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kCapacity = 4096;
  static constexpr std::size_t kTextBytes = 64U << 10U;
  static constexpr std::chrono::milliseconds kFresh{1000};

  [[nodiscard]] std::optional<Facts> find(const std::string& path,
                                          Clock::time_point now = Clock::now()) const;
  void put(const std::string& path, Facts facts, Clock::time_point now = Clock::now());
  // Everything at or below a directory: something was committed or dropped there.
  void forget_below(std::string_view directory);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    Facts facts;
    Clock::time_point learnt;
  };
  void make_room(Clock::time_point now) REQUIRES(mu_);

  mutable Mutex mu_;
  std::map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
