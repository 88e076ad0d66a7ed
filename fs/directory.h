// Reading a directory: a position in one on the disk, and the answer to the kernel.
#pragma once

#define FUSE_USE_VERSION 318
#include <dirent.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <memory>

#include "base/mutex.h"
#include "fs/os_files.h"

namespace shufflefs::fs {

// A position in a backing directory, read with getdents64 and resumable at any offset that was
// handed out: an entry's d_off means the same as telldir's value, for as long as the directory is
// open.
//
// Threads: any, `mu` held. Ownership: uses the OpenFile's descriptor. Failure:
// errno passed on. Cost: 32 KiB while the directory is open and being read; a seek to where it
// already is costs nothing.
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

inline OsResult<void> DirectoryCursor::seek(off_t offset) {
  if (offset == position_ && offset != 0) return {};
  if (::lseek(fd_, offset, SEEK_SET) < 0) return last_errno();
  position_ = offset;
  used_ = filled_ = 0;
  return {};
}

inline OsResult<DirectoryCursor::Entry> DirectoryCursor::next() {
  if (used_ == filled_) {
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
    const ssize_t got = ::getdents64(fd_, buffer_.get(), kBufferBytes);
    if (got < 0) return last_errno();
    used_ = 0;
    filled_ = static_cast<std::size_t>(got);
    if (got == 0) return Entry{};
  }
  const auto* entry = reinterpret_cast<const dirent64*>(buffer_.get() + used_);
  used_ += entry->d_reclen;
  position_ = entry->d_off;
  return Entry{entry->d_name, entry->d_ino, static_cast<mode_t>(DTTOIF(entry->d_type)),
               entry->d_off};
}

// The answer to READDIR or READDIRPLUS, filled entry by entry until the kernel's buffer is full.
//
// Threads: one at a time. Ownership: its buffer. Failure: none; a full buffer is not one. Cost: one
// allocation of `size`.
class DirectoryReply {
 public:
  DirectoryReply(fuse_req_t req, std::size_t size, bool plus)
      : req_(req),
        size_(size),
        plus_(plus),
        buffer_(std::make_unique_for_overwrite<char[]>(size)) {}

  [[nodiscard]] bool plus() const { return plus_; }
  [[nodiscard]] bool empty() const { return used_ == 0; }

  // Adds a name with what readdir(3) shows of it (st_ino and the type in st_mode); no lookup is
  // counted, the kernel asks for the attributes when it wants them. `next_offset` is where a later
  // call goes on. False: no room, not added.
  bool add(const char* name, const struct stat& attr, off_t next_offset) {
    if (!plus_) return took(fuse_add_direntry(req_, position(), room(), name, &attr, next_offset));
    fuse_entry_param entry{};  // ino 0: only a name
    entry.attr = attr;
    return took(fuse_add_direntry_plus(req_, position(), room(), name, &entry, next_offset));
  }

  // Adds a name with its attributes and counts a lookup of entry.ino, if it is added. REQUIRES:
  // plus().
  bool add(const char* name, const fuse_entry_param& entry, off_t next_offset) {
    return took(fuse_add_direntry_plus(req_, position(), room(), name, &entry, next_offset));
  }

  // Answers the request with what was added; nothing means the end of the directory.
  void send() { fuse_reply_buf(req_, buffer_.get(), used_); }

 private:
  [[nodiscard]] char* position() { return buffer_.get() + used_; }
  [[nodiscard]] std::size_t room() const { return size_ - used_; }
  bool took(std::size_t bytes) {
    if (bytes > room()) return false;
    used_ += bytes;
    return true;
  }

  fuse_req_t req_;
  std::size_t size_;
  bool plus_;
  std::unique_ptr<char[]> buffer_;
  std::size_t used_ = 0;
};

}  // namespace shufflefs::fs
