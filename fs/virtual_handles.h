// The open files and directories of the virtual half; fi->fh is a key of this table.
//
// Threads: any; own lock. Ownership: shared, so that a read under way keeps what it reads. Failure:
// an unknown key gives nothing. Cost: one hash lookup. A listing of partitions takes no memory: its
// names are computed.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/namespace.h"
#include "fs/virtual_file.h"

namespace shufflefs::fs {

// The names in a directory, taken once at its opening, so that offsets are stable.
class Listing {
 public:
  // `names` must be ones that child() takes in `directory`; after them come <p>, <p>.merged and
  // <p>.index of the partitions 0 .. partitions - 1.
  Listing(VirtualNode directory, std::vector<std::string> names, uint32_t partitions = 0);

  struct Entry {
    std::string name;
    struct stat attr{};  // st_ino and the type
  };
  // With . and .. as the first two.
  [[nodiscard]] uint64_t size() const { return 2 + names_.size() + uint64_t{3} * partitions_; }
  // REQUIRES: position < size().
  [[nodiscard]] Entry entry(uint64_t position) const;

 private:
  [[nodiscard]] std::string name_at(uint64_t position) const;

  const VirtualNode directory_;
  const std::vector<std::string> names_;
  const uint32_t partitions_;
};

struct VirtualOpen {
  uint64_t nodeid = 0;
  std::shared_ptr<VirtualFile> file =
      nullptr;  // of a file; also in passthrough: O_DIRECT reads come to us
  std::shared_ptr<const Listing> listing = nullptr;  // of a directory
  bool has_mode = false;                             // counted in OpenModes
  bool passthrough = false;                          // counted in Passthrough
};

class VirtualHandles {
 public:
  [[nodiscard]] uint64_t add(VirtualOpen open);
  [[nodiscard]] VirtualOpen find(uint64_t key) const;
  VirtualOpen remove(uint64_t key);
  // Everything that is still open, which is none of the table's business afterwards.
  [[nodiscard]] std::vector<VirtualOpen> remove_all();

 private:
  mutable std::mutex mu_;
  uint64_t next_ = 1;                                // GUARDED_BY(mu_)
  std::unordered_map<uint64_t, VirtualOpen> opens_;  // GUARDED_BY(mu_)
};

}  // namespace shufflefs::fs
