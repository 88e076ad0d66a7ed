// All low-level FUSE operations. Requests for virtual inodes go to VirtualOps; what would change a
// virtual node beyond its methods is EROFS, and names cannot be moved or linked from one tree to
// another (EXDEV). Everything else is done to the disk below, as the caller, and the disk's errno
// is passed on.
//
// A request that comes a second time because a worker died (request.h) is answered as its first
// execution would have been: what it was to make, remove or rename and finds done is a success.
//
// Threads: any FUSE thread, concurrently. Ownership: references to parts that outlive the session;
// the request is answered exactly once. The gauges that it adds to the metrics read from the
// tables, so these outlive whoever renders. Failure: as the disk says. Cost: one open by handle,
// the call itself, and a lookup where the kernel wants an entry. Each ops_*.cc registers its own
// functions.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <atomic>
#include <functional>
#include <memory>

#include "base/metrics.h"
#include "fs/exchange_journal.h"
#include "fs/handle_table.h"
#include "fs/native_trees.h"
#include "fs/passthrough.h"
#include "fs/request_times.h"
#include "fs/space_cache.h"
#include "fs/virtual_ops.h"

namespace shufflefs::fs {

struct Operations {
  Operations(NativeFs& native_fs, HandleTable& handle_table, Passthrough& pass,
             SpaceCache& space_cache, VirtualOps& virtual_operations, Metrics& metrics,
             Fd saved_exchanges = Fd());

  NativeFs& native;
  HandleTable& handles;
  Passthrough& passthrough;
  SpaceCache& space;
  VirtualOps& virtual_ops;
  ExchangeJournal exchanges;
  RequestTimes times;
  Counter& ordinary_reads;
  Counter& ordinary_writes;
  // No answer reaches the kernel any more: the next worker will be asked again.
  std::atomic<bool> silent = false;
  // Set by the session: called when the kernel says what it offers.
  std::function<void(fuse_conn_info&)> on_init;
};

void register_lookup_ops(fuse_lowlevel_ops& ops);
void register_attr_ops(fuse_lowlevel_ops& ops);
void register_dir_ops(fuse_lowlevel_ops& ops);
void register_open_ops(fuse_lowlevel_ops& ops);
void register_io_ops(fuse_lowlevel_ops& ops);
void register_make_ops(fuse_lowlevel_ops& ops);
void register_rename_ops(fuse_lowlevel_ops& ops);
void register_xattr_ops(fuse_lowlevel_ops& ops);

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
