// The answer to READDIR or READDIRPLUS, filled entry by entry until the kernel's buffer is full.
//
// Threads: one at a time. Ownership: its buffer. Failure: none; a full buffer is not one. Cost: one
// allocation of `size`.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <cstddef>
#include <memory>

namespace shufflefs::fs {

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
