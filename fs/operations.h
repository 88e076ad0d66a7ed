// All low-level FUSE operations (ops_*.cc). Requests for virtual inodes go to VirtualOps,
// everything else is done to the disk below, as the caller, and the disk's errno is passed on.
// Names cannot be moved or linked from one tree to another (EXDEV).
//
// A request that comes again because a worker died (request.h) gets the answer of its first
// execution: what it was to make, remove or rename and finds done is a success.
//
// Threads: any FUSE thread, concurrently. Ownership: references to parts that outlive the session
// and whoever renders the metrics. Cost: one open by handle, the call itself, and a lookup where
// the kernel wants an entry.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "base/metrics.h"
#include "base/mutex.h"
#include "fs/native_tables.h"
#include "fs/native_trees.h"
#include "fs/passthrough.h"
#include "fs/request.h"

namespace shufflefs::fs {

// The disks' sizes and free space as remembered numbers, for statfs of the root and of virtual
// nodes: `df` and the kubelet must get an answer at once, also when a disk behind is sick.
//
// Threads: snapshot() on any; a thread of its own asks the disks once a second. Failure: a disk
// that cannot be asked is left out of the sum.
class SpaceCache {
 public:
  explicit SpaceCache(const NativeFs& native);
  ~SpaceCache();
  SpaceCache(const SpaceCache&) = delete;
  SpaceCache& operator=(const SpaceCache&) = delete;

  // The sum over the devices that the trees are on, as of the last refresh.
  [[nodiscard]] struct statvfs snapshot() const EXCLUDES(mu_);
  // Asks the disks now; may block on them. Called once the trees are there, so that the first
  // answer is right.
  void refresh() EXCLUDES(mu_);

 private:
  const NativeFs& native_;
  mutable Mutex mu_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mu_) = false;
  struct statvfs numbers_ GUARDED_BY(mu_) {};
  std::thread thread_;
};

// Answers the requests for virtual inodes (is_virtual): each exactly once with a fuse_reply_*, at
// once or later from the reactor, never by waiting on the FUSE thread. create, rename, setxattr and
// the like do not come here: they are EROFS.
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
  // By a DirectoryReply: the kernel asks for `plus` at the start of any directory.
  virtual void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
                       fuse_file_info* info) = 0;
  virtual void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) = 0;

  virtual void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) = 0;
  virtual void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) = 0;
  virtual void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) = 0;

  virtual void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) = 0;
  virtual void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) = 0;
};

struct Operations {
  Operations(NativeFs& native_fs, HandleTable& handle_table, Passthrough& pass,
             SpaceCache& space_cache, VirtualOps& virtual_operations, Metrics& metrics);

  NativeFs& native;
  HandleTable& handles;
  Passthrough& passthrough;
  SpaceCache& space;
  VirtualOps& virtual_ops;
  RequestTimes times;
  Counter& ordinary_reads;
  Counter& ordinary_writes;
  // Constant while requests come. False: the kernel is told once that there are none (ENOSYS).
  bool has_xattrs = true;
  // No answer reaches the kernel any more: the next worker will be asked again.
  std::atomic<bool> silent = false;
  // Set by the session: called when the kernel says what it offers.
  std::function<void(fuse_conn_info&)> on_init;
};

void register_name_ops(fuse_lowlevel_ops& ops);
void register_file_ops(fuse_lowlevel_ops& ops);
void register_attribute_ops(fuse_lowlevel_ops& ops);

inline Operations& operations(fuse_req_t req) {
  return *static_cast<Operations*>(fuse_req_userdata(req));
}

// Answers with an entry whose lookup has been counted, and takes that back if the kernel no longer
// wants the answer.
void reply_entry(fuse_req_t req, NativeFs& native, const fuse_entry_param& entry);

inline NameInTree name_in(const Node& directory, const char* name) {
  return NameInTree{
      .directory_fd = directory.fd.get(), .in_tree_root = directory.is_root, .name = name};
}

// Asks the tree's hooks; 0 or the errno to answer.
int before_change(const Node& directory, const char* name);
// The same for a file of which we know only the inode, about to be written to or truncated.
int before_write(const Node& file);
// The same for `fd` of that tree, whose attributes are about to change or which is to get a name.
int before_attributes(const Tree& tree, int fd);

}  // namespace shufflefs::fs
