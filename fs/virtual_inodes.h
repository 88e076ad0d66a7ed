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

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/hash.h"
#include "base/mutex.h"
#include "fs/namespace.h"
#include "fs/saved_names.h"
#include "fs/virtual_ops.h"

namespace shufflefs::fs {

class VirtualInodes {
 public:
  explicit VirtualInodes(Fd saved_short = Fd(), Fd saved_long = Fd());

  // The nodeid of the node, with one lookup more: the reply to the kernel that carries it is
  // counted by the kernel too.
  [[nodiscard]] fuse_ino_t remember(const VirtualNode& node);
  [[nodiscard]] std::optional<VirtualNode> find(fuse_ino_t ino) const;
  void forget(fuse_ino_t ino, uint64_t count);
  // The name will get another nodeid at its next remember(). The old one stays valid until it is
  // forgotten.
  void retire(fuse_ino_t ino);
  void retire(const VirtualNode& node);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Known {
    VirtualNode node;
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
