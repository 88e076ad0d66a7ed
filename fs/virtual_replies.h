// Answers the kernel's requests for virtual inodes with what VirtualTree returns, at once or from
// the reactor when the task has ended.
//
// Threads: any FUSE thread; later answers on the reactor. Ownership: the tree and the FUSE session
// outlive it. Failure: every request is answered exactly once, with EIO if its task is cancelled.
// What the kernel no longer wants (the caller was killed) is given back to the tree.
#pragma once

#include "fs/operations.h"
#include "fs/virtual_tree.h"

namespace shufflefs::fs {

class VirtualReplies final : public VirtualOps {
 public:
  explicit VirtualReplies(VirtualTree& tree) : tree_(tree) {}

  void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) override;
  void forget(fuse_ino_t ino, uint64_t count) override { tree_.forget(ino, count); }
  void getattr(fuse_req_t req, fuse_ino_t ino) override;
  void setattr(fuse_req_t req, fuse_ino_t ino, const struct stat* attr, int to_set) override;
  void readlink(fuse_req_t req, fuse_ino_t ino) override;

  void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;
  void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
            fuse_file_info* info) override;
  void write(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in, fuse_file_info* info) override;
  void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;

  void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;
  void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
               fuse_file_info* info) override;
  void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) override;

  void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) override;
  void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) override;
  void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) override;

  void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) override;
  void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) override;

 private:
  VirtualTree& tree_;
};

}  // namespace shufflefs::fs
