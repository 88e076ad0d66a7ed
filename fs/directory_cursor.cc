#include "fs/directory_cursor.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shufflefs::fs {

OsResult<void> DirectoryCursor::seek(off_t offset) {
  if (offset == position_ && offset != 0) return {};
  if (::lseek(fd_, offset, SEEK_SET) < 0) return last_errno();
  position_ = offset;
  used_ = filled_ = 0;
  return {};
}

OsResult<DirectoryCursor::Entry> DirectoryCursor::next() {
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

}  // namespace shufflefs::fs
