// What is open in the virtual half: files, listings, and the table of both (fi->fh is its key).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "fs/checked_reads.h"
#include "fs/namespace.h"
#include "fs/saved_state.h"
#include "fs/saved_tables.h"

namespace shufflefs::fs {

// What an open file or directory is made of, for the worker that goes on with it after our death.
enum class SnapshotKind : uint32_t {
  kText = 1,     // the bytes themselves
  kBacking,      // the descriptor
  kStream,       // an encoded plan (merge/plan_codec.h)
  kListing = 5,  // names, each ended by a newline
};

struct Snapshot {
  SnapshotKind kind{};
  std::string bytes;
  int fd = -1;  // where the content is a descriptor; the file's
};

// An open file: a text in memory, a file of this node's disks, or a partition that is streamed. It
// is a snapshot taken at its opening: its size does not change, and a read gives all the bytes that
// were asked for, fewer only at the end, or an error.
//
// Threads: any, but read() and close() on the reactor. Ownership: shared, so that a read under way
// keeps it; close() before the last release.
class VirtualFile {
 public:
  explicit VirtualFile(std::string text);
  VirtualFile(Fd fd, uint64_t size);  // `size` bytes of it; none: no bytes
  explicit VirtualFile(std::shared_ptr<CheckedStream> stream);

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] Snapshot snapshot() const;

  [[nodiscard]] bool is_stream() const { return stream_ != nullptr; }
  // Where it is no stream: the descriptor to read from, or -1 and the text.
  [[nodiscard]] int descriptor() const { return fd_.get(); }
  [[nodiscard]] std::string_view text() const { return text_; }

  // REQUIRES: is_stream(). A failure is logged: partition.incomplete, or partition.read_failed.
  [[nodiscard]] Task<Result<Buffer>> read(uint64_t offset, uint32_t size) const;
  [[nodiscard]] Task<void> close() const;

 private:
  const std::string text_{};
  const Fd fd_{};
  const std::shared_ptr<CheckedStream> stream_{};
  const uint64_t size_;
};

// The names in a directory, taken once at its opening, so that offsets are stable.
class Listing {
 public:
  // `names` must be ones that child() takes in `directory`; after them come <p>, <p>.merged and
  // <p>.index of the partitions 0 .. partitions - 1.
  Listing(VirtualPath directory, std::vector<std::string> names, uint32_t partitions = 0);

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

  const VirtualPath directory_;
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

// What is open is saved with a snapshot of its content (saved_state.h), so that a reader goes on
// with the same bytes after a worker's death, whatever has been merged since.
//
// Threads: any; own lock. Ownership: shared, so that a read under way keeps what it reads. Failure:
// an unknown key gives nothing. Cost: one hash lookup. A listing of partitions takes no memory: its
// names are computed.
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
