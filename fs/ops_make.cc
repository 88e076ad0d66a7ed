// mkdir, mknod, symlink, link: new names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/caller.h"
#include "fs/operations.h"

namespace shufflefs::fs {
namespace {

// Runs `make(directory_fd)`, which creates `name`, as the caller, and answers with the new entry.
template <class Make>
void make_entry(fuse_req_t req, fuse_ino_t parent, const char* name, Make make) {
  Operations& ops = operations(req);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  if (const int refused = before_change(*directory, name); refused != 0)
    return void(fuse_reply_err(req, refused));
  int error = 0;
  {
    const CreatorScope creator(*fuse_req_ctx(req));
    if (make(directory->fd.get()) != 0) error = errno;
  }
  if (error != 0) return void(fuse_reply_err(req, error));
  const OsResult<fuse_entry_param> entry = ops.native.lookup(*directory, name);
  if (!entry) return void(fuse_reply_err(req, entry.error().value));
  reply_entry(req, ops.native, *entry);
}

void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  if (is_virtual(parent)) return operations(req).virtual_ops.mkdir(req, parent, name, mode);
  make_entry(req, parent, name, [&](int directory) { return ::mkdirat(directory, name, mode); });
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  make_entry(req, parent, name,
             [&](int directory) { return ::mknodat(directory, name, mode, device); });
}

void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  make_entry(req, parent, name,
             [&](int directory) { return ::symlinkat(target, directory, name); });
}

void link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name) {
  Operations& ops = operations(req);
  if (is_virtual(ino) != is_virtual(new_parent)) return void(fuse_reply_err(req, EXDEV));
  if (is_virtual(ino)) return void(fuse_reply_err(req, EROFS));
  const OsResult<Node> node = ops.native.node(ino);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  const OsResult<Node> directory = ops.native.node(new_parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  if (node->tree->id != directory->tree->id) return void(fuse_reply_err(req, EXDEV));
  if (const int refused = before_change(*directory, new_name); refused != 0)
    return void(fuse_reply_err(req, refused));
  if (::linkat(node->fd.get(), "", directory->fd.get(), new_name, AT_EMPTY_PATH) != 0) {
    return void(fuse_reply_err(req, errno));
  }
  directory->tree->hooks->after_link(name_in(*directory, new_name));
  const OsResult<fuse_entry_param> entry = ops.native.lookup(*directory, new_name);
  if (!entry) return void(fuse_reply_err(req, entry.error().value));
  reply_entry(req, ops.native, *entry);
}

}  // namespace

void register_make_ops(fuse_lowlevel_ops& ops) {
  ops.mkdir = mkdir;
  ops.mknod = mknod;
  ops.symlink = symlink;
  ops.link = link;
}

}  // namespace shufflefs::fs
