// A position in a backing directory, read with getdents64 and resumable at any offset that was
// handed out: an entry's d_off means the same as telldir's value, for as long as the directory is
// open.
//
// Threads: any, `mu` held. Ownership: uses the OpenFile's descriptor. Failure:
// errno passed on. Cost: 32 KiB while the directory is open and being read; a seek to where it
// already is costs nothing.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>

#include "base/mutex.h"
#include "fs/os_result.h"

namespace shufflefs::fs {

class DirectoryCursor {
 public:
  struct Entry {
    const char* name = nullptr;  // valid until the next call; nullptr at the end
    ino_t inode = 0;
    mode_t type = 0;        // S_IFMT bits
    off_t next_offset = 0;  // where to go on after this entry
  };

  explicit DirectoryCursor(int fd) : fd_(fd) {}

  Mutex mu;

  // Goes to `offset`: 0, or a next_offset. 0 reads the directory afresh, as rewinddir does.
  OsResult<void> seek(off_t offset) REQUIRES(mu);
  OsResult<Entry> next() REQUIRES(mu);

 private:
  static constexpr std::size_t kBufferBytes = 32 * 1024;
  int fd_;
  off_t position_ GUARDED_BY(mu) = 0;  // of the next entry
  std::size_t used_ GUARDED_BY(mu) = 0;
  std::size_t filled_ GUARDED_BY(mu) = 0;
  std::unique_ptr<std::byte[]> buffer_ GUARDED_BY(mu);
};

}  // namespace shufflefs::fs
