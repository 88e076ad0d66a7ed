// rename, unlink, rmdir.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "fs/operations.h"

namespace shufflefs::fs {
namespace {

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Operations& ops = operations(req);
  if (is_virtual(parent) != is_virtual(new_parent)) return void(fuse_reply_err(req, EXDEV));
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  const OsResult<Node> from = ops.native.node(parent);
  if (!from) return void(fuse_reply_err(req, from.error().value));
  const OsResult<Node> to = ops.native.node(new_parent);
  if (!to) return void(fuse_reply_err(req, to.error().value));
  if (from->tree->id != to->tree->id) return void(fuse_reply_err(req, EXDEV));
  TreeHooks& hooks = *from->tree->hooks;
  if (const Status allowed = hooks.before_rename(name_in(*from, name), name_in(*to, new_name));
      !allowed) {
    return void(fuse_reply_err(req, allowed.error().fuse_errno()));
  }
  if (::renameat2(from->fd.get(), name, to->fd.get(), new_name, flags) != 0) {
    return void(fuse_reply_err(req, errno));
  }
  hooks.after_rename(name_in(*from, name), name_in(*to, new_name));
  if ((flags & RENAME_EXCHANGE) != 0)
    hooks.after_rename(name_in(*to, new_name), name_in(*from, name));
  fuse_reply_err(req, 0);
}

void remove_name(fuse_req_t req, fuse_ino_t parent, const char* name, bool is_directory) {
  Operations& ops = operations(req);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  Fd doomed;
  if (is_directory)
    doomed = Fd(::openat(directory->fd.get(), name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC));
  if (::unlinkat(directory->fd.get(), name, is_directory ? AT_REMOVEDIR : 0) != 0) {
    return void(fuse_reply_err(req, errno));
  }
  if (doomed) ops.native.keep_removed_directory(*directory->tree, std::move(doomed));
  directory->tree->hooks->after_remove(name_in(*directory, name), is_directory);
  fuse_reply_err(req, 0);
}

void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  if (is_virtual(parent)) return operations(req).virtual_ops.unlink(req, parent, name);
  remove_name(req, parent, name, false);
}

void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  if (is_virtual(parent)) return operations(req).virtual_ops.rmdir(req, parent, name);
  remove_name(req, parent, name, true);
}

}  // namespace

void register_rename_ops(fuse_lowlevel_ops& ops) {
  ops.rename = rename;
  ops.unlink = unlink;
  ops.rmdir = rmdir;
}

}  // namespace shufflefs::fs
