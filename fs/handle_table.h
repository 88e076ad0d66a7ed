// The open files and directories of native trees: fi->fh is a key of this table, never a pointer.
//
// What is needed to open them once more is saved (saved_opens.h).
//
// Threads: any; one lock, held for a look-up. Ownership: the table owns the descriptors; whoever
// found an OpenFile keeps it alive for as long as it needs it. Failure: an unknown key gives
// nullptr. Cost: a hash look-up and a reference count, and nothing at all for the reads and writes
// of passthrough files, which never come here.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "fs/saved_opens.h"

namespace shufflefs::fs {

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
  };
  static bool is_ordinary(const OpenFile& file);
  void count_locked(const OpenFile& file) REQUIRES(mu_);

  std::atomic<uint64_t> ordinary_ = 0;
  mutable Mutex mu_;
  SavedOpens<OpenRecord, std::shared_ptr<OpenFile>> opens_ GUARDED_BY(mu_);
  std::unordered_map<uint64_t, Opens> by_node_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::fs
