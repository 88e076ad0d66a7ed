// The virtual nodeids that the kernel knows, saved (saved_memory.h): nodeid, look-ups, path. Two
// tables, because most paths are short and the longest are not.
//
// Threads: the owner locks. Cost: 136 bytes a name, 424 for a path of more than 104 characters.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/saved_memory.h"

namespace shufflefs::fs {

class SavedNames {
 public:
  SavedNames(Fd short_names, Fd long_names)
      : short_(std::move(short_names), "virtual-names"),
        long_(std::move(long_names), "virtual-long-names") {}

  struct Place {  // of one name
    bool is_long = false;
    uint32_t record = 0;
  };
  struct Name {
    Place place;
    uint64_t nodeid = 0;
    uint64_t lookups = 0;
    bool retired = false;
    std::string path;
  };
  // REQUIRES: path of at most kLongestPath characters, which every path_of() has.
  Place add(uint64_t nodeid, std::string_view path);
  void remove(Place place);
  [[nodiscard]] uint64_t& lookups(Place place);
  void retire(Place place);
  // At start.
  [[nodiscard]] std::vector<Name> all() const;
  // The highest nodeid ever given out, or 0; kept by the owner.
  [[nodiscard]] uint64_t& highest() { return short_.counter(0); }

  static constexpr std::size_t kLongestPath = 392;

 private:
  template <std::size_t PathBytes>
  struct Record {
    uint64_t nodeid = 0;
    uint64_t lookups = 0;
    uint32_t retired = 0;
    uint32_t length = 0;
    std::array<char, PathBytes> path{};

    [[nodiscard]] bool is_sound() const { return length <= PathBytes; }
  };
  static constexpr std::size_t kShortPath = 104;

  SavedTable<Record<kShortPath>> short_;
  SavedTable<Record<kLongestPath>> long_;
};

}  // namespace shufflefs::fs
