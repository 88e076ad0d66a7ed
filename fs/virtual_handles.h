// The open files and directories of the virtual half; fi->fh is a key of this table.
//
// What is open is saved with a snapshot of its content (saved_state.h), so that a reader goes on
// with the same bytes after a worker's death, whatever has been merged since.
//
// Threads: any; own lock. Ownership: shared, so that a read under way keeps what it reads. Failure:
// an unknown key gives nothing. Cost: one hash lookup. A listing of partitions takes no memory: its
// names are computed.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "fs/namespace.h"
#include "fs/saved_opens.h"
#include "fs/saved_state.h"
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

  [[nodiscard]] Snapshot snapshot() const;
  [[nodiscard]] uint32_t partitions() const { return partitions_; }

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
  int32_t backing_id = 0;                            // not 0: counted in Passthrough
};

struct VirtualOpenRecord {
  uint64_t key = 0;
  uint64_t nodeid = 0;
  uint64_t request = 0;
  uint64_t bytes = 0;
  SnapshotKind kind{};
  uint32_t partitions = 0;
  int32_t backing_id = 0;
  uint8_t has_mode = 0;

  [[nodiscard]] bool is_sound() const { return key != 0 && key >> 62U == 0; }
};

class VirtualHandles {
 public:
  // `kept` outlives the table; nullptr: nobody keeps snapshots for us.
  explicit VirtualHandles(Fd saved = Fd(), KeptFiles* kept = nullptr);

  // `request` opened it.
  [[nodiscard]] uint64_t add(VirtualOpen open, uint64_t request = 0);

  // ---- at start, after a worker before us
  [[nodiscard]] std::vector<VirtualOpenRecord> saved() const;
  void restore(const VirtualOpenRecord& record, VirtualOpen open);
  // The key of what that request opened before the last restart; 0: nothing.
  [[nodiscard]] uint64_t key_of_request(uint64_t request) const;

  [[nodiscard]] VirtualOpen find(uint64_t key) const;
  VirtualOpen remove(uint64_t key);
  // Everything that is still open, which is none of the table's business afterwards.
  [[nodiscard]] std::vector<VirtualOpen> remove_all();

 private:
  void keep_snapshot(const Snapshot& snapshot, uint64_t key) const;

  KeptFiles* const kept_;
  mutable Mutex mu_;
  SavedOpens<VirtualOpenRecord, VirtualOpen> opens_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
