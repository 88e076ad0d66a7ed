// Which nodeid stands for which virtual node, as long as the kernel remembers it.
//
// A name keeps its nodeid while the kernel knows it, with one exception: retire(). A partition is
// retired at each open, so that the next lookup gives the name a new nodeid and with it a kernel
// inode of its own: the kernel requires all opens of one inode to agree on passthrough and on the
// backing file, and two opens of a growing partition do not. A removed directory is retired because
// the kernel marks its inode dead. st_ino is not the nodeid (namespace.h), so programs that compare
// inode numbers see nothing of this.
//
// Threads: any; own lock. Ownership: what a worker's death must not take along is in SavedNames.
// Failure: find() of a number that is not known (any more) gives nothing. Cost: two hash lookups
// and one path text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/mutex.h"
#include "fs/namespace.h"
#include "fs/operations.h"
#include "fs/saved_tables.h"

namespace shufflefs::fs {

// The virtual nodeids that the kernel knows, saved (saved_tables.h): nodeid, look-ups, path. Two
// tables, because most paths are short and the longest are not.
//
// Threads: the owner locks. Cost: 136 bytes a name, 424 for a path of more than 104 characters.
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
  // REQUIRES: path of at most kMaxPathBytes characters, which every path_of() has.
  Place add(uint64_t nodeid, std::string_view path);
  void remove(Place place);
  [[nodiscard]] uint64_t& lookups(Place place);
  void retire(Place place);
  // At start.
  [[nodiscard]] std::vector<Name> all() const;
  // The highest nodeid ever given out, or 0; kept by the owner.
  [[nodiscard]] uint64_t& highest() { return short_.counter(0); }

  static constexpr std::size_t kMaxPathBytes = 392;

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
  SavedTable<Record<kMaxPathBytes>> long_;
};

class VirtualInodes {
 public:
  explicit VirtualInodes(Fd saved_short = Fd(), Fd saved_long = Fd());

  // The nodeid of the node, with one lookup more: the reply to the kernel that carries it is
  // counted by the kernel too.
  [[nodiscard]] fuse_ino_t remember(const VirtualPath& node);
  [[nodiscard]] std::optional<VirtualPath> find(fuse_ino_t ino) const;
  void forget(fuse_ino_t ino, uint64_t count);
  // The name will get another nodeid at its next remember(). The old one stays valid until it is
  // forgotten.
  void retire(fuse_ino_t ino);
  void retire(const VirtualPath& node);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Known {
    VirtualPath node;
    SavedNames::Place place;
  };
  using ByPath = std::unordered_map<std::string, fuse_ino_t, SeededHash>;
  void retire_locked(ByPath::iterator path) REQUIRES(mu_);

  mutable Mutex mu_;
  SavedNames saved_ GUARDED_BY(mu_);
  std::unordered_map<fuse_ino_t, Known> known_ GUARDED_BY(mu_);
  ByPath by_path_ GUARDED_BY(mu_);  // only current ones
};

}  // namespace shufflefs::fs
