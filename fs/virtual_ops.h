// The part of the namespace that is not on a disk: the root, shuffles/, .shufflefs/. The
// FUSE operations hand over here every request for a virtual inode (is_virtual(ino)); the
// implementation answers it exactly once with a fuse_reply_*, at once or later from the reactor
// thread (remote partitions), never by waiting on the FUSE thread.
//
// Threads: any FUSE thread, concurrently.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <cstdint>

namespace shufflefs::fs {

// Inode numbers of virtual nodes have bit 62 set; the root (FUSE_ROOT_ID) is virtual too.
inline constexpr fuse_ino_t kVirtualInodeBit = fuse_ino_t{1} << 62U;
[[nodiscard]] constexpr bool is_virtual(fuse_ino_t ino) {
  return ino == FUSE_ROOT_ID || (ino & kVirtualInodeBit) != 0;
}

class VirtualOps {
 public:
  virtual ~VirtualOps() = default;

  virtual void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) = 0;
  virtual void forget(fuse_ino_t ino, uint64_t count) = 0;  // does not answer
  virtual void getattr(fuse_req_t req, fuse_ino_t ino) = 0;
  virtual void setattr(fuse_req_t req, fuse_ino_t ino, const struct stat* attr, int to_set) = 0;
  virtual void readlink(fuse_req_t req, fuse_ino_t ino) = 0;

  virtual void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) = 0;
  virtual void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                    fuse_file_info* info) = 0;
  virtual void write(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in, fuse_file_info* info) = 0;
  virtual void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) = 0;

  virtual void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) = 0;
  // Answered with a DirectoryReply(req, size, plus), which knows both formats: the kernel asks for
  // `plus` (READDIRPLUS) at the start of any directory, also of virtual ones.
  virtual void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
                       fuse_file_info* info) = 0;
  virtual void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) = 0;

  virtual void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) = 0;
  virtual void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) = 0;
  virtual void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) = 0;

  virtual void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) = 0;
  virtual void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) = 0;
  // create, mknod, symlink, link, rename, setxattr, ... in or on a virtual node: the operations
  // answer EROFS themselves.
};

}  // namespace shufflefs::fs
