// The tables of the native trees: the inodes that the kernel knows, and what is open.
#pragma once

#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "fs/os_files.h"
#include "fs/saved_state.h"
#include "fs/saved_tables.h"

namespace shufflefs::fs {

// Inode numbers of virtual paths have this bit; the root is virtual too.
inline constexpr uint64_t kVirtualInodeBit = uint64_t{1} << 62U;
[[nodiscard]] constexpr bool is_virtual(uint64_t nodeid) {
  return nodeid == 1 || (nodeid & kVirtualInodeBit) != 0;
}

enum class TreeId : uint32_t {};

struct InodeRecord {
  uint64_t nodeid = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t lookups = 0;
  TreeId tree{};
  uint32_t type = 0;  // S_IFMT of the mode; an inode's type never changes
  FileHandle handle;

  // As found in saved memory.
  [[nodiscard]] bool is_sound() const;
};
static_assert(std::is_trivially_copyable_v<InodeRecord>);

// The native inodes that the kernel knows: nodeid -> where to find the file again, and how often it
// was looked up.
//
// A nodeid is never used twice, so a file that takes over the inode number of a deleted one is a
// new node. A known inode costs a file handle (name_to_handle_at) and no descriptor; one is pinned
// only where the file system refuses handles (overlayfs) or a handle would go stale.
//
// The records are saved (saved_tables.h), the pinned descriptors kept (saved_state.h), so that the
// kernel's nodeids outlive the worker. A look-up is counted before it is answered, and again when
// its request comes again: after a death a few records may outlive the kernel's interest, but none
// is missing.
//
// Threads: any; one lock per shard, and a nodeid says in which shard it is. Ownership: pinned
// descriptors. Failure: an unknown nodeid gives nothing. Cost: about 200 bytes an inode, one or two
// hash look-ups a call.
class InodeTable {
 public:
  static constexpr unsigned kShardBits = 4;

  // `saved` as in SavedTable; `kept` outlives the table, nullptr: nobody keeps descriptors for us.
  explicit InodeTable(Fd saved = Fd(), KeptFiles* kept = nullptr);
  ~InodeTable() = default;
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;

  struct Remembered {
    uint64_t nodeid = 0;
    bool is_new = false;
  };
  // Counts a lookup of the file that `seen` describes (nodeid and lookups are ignored), which
  // becomes known if it is not. `path_fd` is kept if the file is new and has no handle.
  Remembered remember(const InodeRecord& seen, Fd path_fd) { return remember_with(seen, path_fd); }
  // The same; otherwise `path_fd` stays the caller's.
  Remembered remember_with(const InodeRecord& seen, Fd& path_fd);

  [[nodiscard]] std::optional<InodeRecord> find(uint64_t nodeid) const;
  // Keeps a descriptor of the file with that number, if it is known and has none yet.
  void pin(uint64_t device, uint64_t inode, Fd path_fd);
  // Before a name of the file with that number is removed: somebody who has just looked it up may
  // still open it by its nodeid, and its handle goes stale with its last name. Holds the file and
  // returns the nodeid for end_removal(), 0 if the file is not known (then nothing is held).
  [[nodiscard]] uint64_t begin_removal(uint64_t device, uint64_t inode, Fd path_fd);
  enum class Removal {
    kFailed,          // the file has its name still
    kIfFoundAgain,    // if that was its last name: held until it is forgotten, if it was looked up
                      // more than once
    kUntilForgotten,  // if that was its last name: held until it is forgotten
    kKept,            // the same for anything but a regular file, and kept where it outlives us
  };
  void end_removal(uint64_t nodeid, Removal how);
  // The file has no name any more: held until it is forgotten.
  void hold_removed(uint64_t nodeid, Fd path_fd);
  // What a worker before us had pinned. At start.
  void restore_pinned(uint64_t nodeid, Fd path_fd);
  // The latest node of the file with that number; 0 if it is not known.
  [[nodiscard]] uint64_t nodeid_of(uint64_t device, uint64_t inode) const;
  // A duplicate of the pinned descriptor; an empty Fd if there is none.
  [[nodiscard]] Fd duplicate_pinned(uint64_t nodeid) const;

  // Takes `count` lookups back. The record is returned when it was the last one; the inode is
  // unknown then.
  std::optional<InodeRecord> forget(uint64_t nodeid, uint64_t count);

  [[nodiscard]] std::size_t size() const;
  // At start: how many nodes of each tree the kernel still knows.
  [[nodiscard]] std::map<TreeId, uint64_t> count_by_tree() const;

 private:
  struct Key {
    uint64_t device = 0;
    uint64_t inode = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const { return mix(key); }
  };
  struct Pin {
    Fd fd;
    uint32_t removals = 0;  // under way
    bool stays = false;     // until the file is forgotten
    bool kept = false;      // by `kept_` as well
  };
  struct Shard {
    mutable Mutex mu;
    // It guards the records that they lead to as well.
    std::unordered_map<uint64_t, uint32_t> by_nodeid GUARDED_BY(mu);  // the record's number
    std::unordered_map<Key, uint64_t, KeyHash> by_key
        GUARDED_BY(mu);  // the latest nodeid of a file
    std::unordered_map<uint64_t, Pin> pinned GUARDED_BY(mu);
  };
  static constexpr std::size_t kShards = std::size_t{1} << kShardBits;

  friend struct InodeRecord;
  static std::size_t mix(const Key& key) {
    const uint64_t x = (key.inode ^ (key.device << 32U)) * 0x9E3779B97F4A7C15U;
    return static_cast<std::size_t>(x ^ (x >> 29U));
  }
  static uint64_t shard_number(const Key& key) { return (mix(key) >> 40U) & (kShards - 1); }
  Shard& shard_of(uint64_t nodeid) { return shards_[nodeid & (kShards - 1)]; }
  const Shard& shard_of(uint64_t nodeid) const { return shards_[nodeid & (kShards - 1)]; }

  static constexpr std::size_t kMaxBytes = std::size_t{8} << 30U;  // some 70 million inodes

  void keep_pinned_locked(Shard& shard, uint64_t nodeid, Fd path_fd) REQUIRES(shard.mu);
  void keep_locked(uint64_t nodeid, Pin& pin);

  KeptFiles* const kept_;
  // Counter i: the next number of shard i, none ever used twice.
  SavedTable<InodeRecord> saved_;
  std::array<Shard, kShards> shards_;
};

struct Tree;
class DirectoryCursor;

struct OpenFile {
  OpenFile(uint64_t its_nodeid, int open_flags, std::shared_ptr<const Tree> its_tree,
           Fd descriptor);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  // Constant once the open has been answered.
  uint64_t key = 0;
  uint64_t nodeid = 0;
  int flags = 0;           // as the caller opened it
  int32_t backing_id = 0;  // not 0: in passthrough mode
  std::shared_ptr<const Tree> tree;
  Fd fd;
  std::unique_ptr<DirectoryCursor> cursor;  // of directories; has its own lock

  [[nodiscard]] bool writable() const;
  // For shared stores a file must be open for reading and writing.
  [[nodiscard]] bool mappable() const;
};

struct OpenRecord {
  uint64_t key = 0;
  uint64_t nodeid = 0;
  uint64_t request = 0;
  int32_t flags = 0;
  int32_t backing_id = 0;
  uint8_t is_directory = 0;

  [[nodiscard]] bool is_sound() const { return key != 0 && key >> 62U == 0; }
};

// The open files and directories of native trees: fi->fh is a key of this table, never a pointer.
//
// What is needed to open them once more is saved (saved_tables.h).
//
// Threads: any; one lock, held for a look-up. Ownership: the table owns the descriptors; whoever
// found an OpenFile keeps it alive for as long as it needs it. Failure: an unknown key gives
// nullptr. Cost: a hash look-up and a reference count, and nothing at all for the reads and writes
// of passthrough files, which never come here.
class HandleTable {
 public:
  explicit HandleTable(Fd saved = Fd());

  // Gives `file` its key, by which the kernel will know it from the answer to `request` on.
  uint64_t add(const std::shared_ptr<OpenFile>& file, uint64_t request = 0);

  // ---- at start, after a worker before us
  [[nodiscard]] std::vector<OpenRecord> saved() const;
  void restore(const OpenRecord& record, const std::shared_ptr<OpenFile>& file);
  // The key of what that request opened before the last restart; 0: nothing.
  [[nodiscard]] uint64_t key_of_request(uint64_t request) const;

  [[nodiscard]] std::shared_ptr<OpenFile> find(uint64_t key) const;
  // Some open file of that inode, for requests that come without a handle when the inode has no
  // name any more.
  [[nodiscard]] std::shared_ptr<OpenFile> any_of(uint64_t nodeid) const;

  // Whether somebody has it open for writing.
  [[nodiscard]] bool has_writer(uint64_t nodeid) const;
  // Whether somebody can have it mapped for shared stores, for which it is open for both.
  [[nodiscard]] bool may_be_mapped(uint64_t nodeid) const;

  struct Removed {
    std::shared_ptr<OpenFile> file;
    bool was_last_writer = false;
  };
  Removed remove(uint64_t key);

  [[nodiscard]] std::size_t size() const;
  // Whether any file is open that is not in passthrough mode: the kernel holds those that are.
  [[nodiscard]] bool has_ordinary() const { return ordinary_ != 0; }

 private:
  struct Opens {
    std::vector<uint64_t> keys;
    uint32_t writers = 0;
    uint32_t mappers = 0;  // of these
  };
  static bool is_ordinary(const OpenFile& file);
  void count_locked(const OpenFile& file) REQUIRES(mu_);

  std::atomic<uint64_t> ordinary_ = 0;
  mutable Mutex mu_;
  SavedOpens<OpenRecord, std::shared_ptr<OpenFile>> opens_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, Opens> by_node_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
