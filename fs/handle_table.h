// The open files and directories of native trees: fi->fh is a key of this table, never a pointer.
//
// Threads: any; one lock, held for a look-up. Ownership: the table owns the descriptors; whoever
// found an OpenFile keeps it alive for as long as it needs it. Failure: an unknown key gives
// nullptr. Cost: a hash look-up and a reference count, and nothing at all for the reads and writes
// of passthrough files, which never come here.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/fd.h"

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
  int flags = 0;  // as the caller opened it
  bool passthrough = false;
  std::shared_ptr<const Tree> tree;
  Fd fd;
  std::unique_ptr<DirectoryCursor> cursor;  // of directories; has its own lock

  [[nodiscard]] bool writable() const;
};

class HandleTable {
 public:
  // Gives `file` its key.
  uint64_t add(const std::shared_ptr<OpenFile>& file);
  [[nodiscard]] std::shared_ptr<OpenFile> find(uint64_t key) const;
  // Some open file of that inode, for requests that come without a handle when the inode has no
  // name any more.
  [[nodiscard]] std::shared_ptr<OpenFile> any_of(uint64_t nodeid) const;

  struct Removed {
    std::shared_ptr<OpenFile> file;
    bool was_last_writer = false;
  };
  Removed remove(uint64_t key);

  [[nodiscard]] std::size_t size() const;

 private:
  struct Opens {
    std::vector<uint64_t> keys;
    uint32_t writers = 0;
  };
  mutable std::mutex mu_;
  uint64_t next_key_ = 1;                                          // GUARDED_BY(mu_)
  std::unordered_map<uint64_t, std::shared_ptr<OpenFile>> files_;  // GUARDED_BY(mu_)
  std::unordered_map<uint64_t, Opens> by_node_;                    // GUARDED_BY(mu_)
};

}  // namespace shufflefs::fs
