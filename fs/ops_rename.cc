// rename, unlink, rmdir.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "fs/operations.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

bool exists(const Node& directory, const char* name) {
  struct stat attr{};
  return ::fstatat(directory.fd.get(), name, &attr, AT_SYMLINK_NOFOLLOW) == 0;
}

// The kernel had found the old name before it asked: who could have taken it away but us?
bool was_renamed_before(const Node& from, const char* name, const Node& to, const char* new_name) {
  return current_request().resent && !exists(from, name) && exists(to, new_name);
}

void exchange(fuse_req_t req, const Node& from, const char* name, const Node& to,
              const char* new_name) {
  Operations& ops = operations(req);
  struct stat first{};
  if (::fstatat(from.fd.get(), name, &first, AT_SYMLINK_NOFOLLOW) != 0)
    return void(fuse_reply_err(req, errno));
  const ExchangeJournal::Begun begun = ops.exchanges.begin(current_request(), first);
  int error = 0;
  if (!begun.is_done &&
      ::renameat2(from.fd.get(), name, to.fd.get(), new_name, RENAME_EXCHANGE) != 0) {
    error = errno;
  }
  if (error == 0) {
    TreeHooks& hooks = *from.tree->hooks;
    hooks.after_rename(name_in(from, name), name_in(to, new_name));
    hooks.after_rename(name_in(to, new_name), name_in(from, name));
  }
  fuse_reply_err(req, error);
  ops.exchanges.end(begun);
}

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
  if (was_renamed_before(*from, name, *to, new_name)) {
    hooks.after_rename(name_in(*from, name), name_in(*to, new_name));
    return void(fuse_reply_err(req, 0));
  }
  const bool is_exchange = (flags & RENAME_EXCHANGE) != 0;
  const auto scope = hooks.commit_scope(name_in(*from, name), name_in(*to, new_name), is_exchange);
  if (!scope) return void(fuse_reply_err(req, scope.error().fuse_errno()));
  if (const Status allowed = hooks.before_rename(name_in(*from, name), name_in(*to, new_name));
      !allowed) {
    return void(fuse_reply_err(req, allowed.error().fuse_errno()));
  }
  if (is_exchange) return exchange(req, *from, name, *to, new_name);
  if ((flags & RENAME_NOREPLACE) == 0) ops.native.keep_if_open(*to, new_name);
  NativeFs::Removal replaced(ops.native, *to, new_name, NativeFs::Removal::Kind::kReplaced);
  if (::renameat2(from->fd.get(), name, to->fd.get(), new_name, flags) != 0) {
    return void(fuse_reply_err(req, errno));
  }
  replaced.done();
  hooks.after_rename(name_in(*from, name), name_in(*to, new_name));
  fuse_reply_err(req, 0);
}

void remove_name(fuse_req_t req, fuse_ino_t parent, const char* name, bool is_directory) {
  Operations& ops = operations(req);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  if (!is_directory) ops.native.keep_if_open(*directory, name);
  NativeFs::Removal removal(ops.native, *directory, name, NativeFs::Removal::Kind::kUnlinked);
  if (::unlinkat(directory->fd.get(), name, is_directory ? AT_REMOVEDIR : 0) != 0) {
    const int error = errno;
    if (error != ENOENT || !current_request().resent) return void(fuse_reply_err(req, error));
  }
  removal.done();
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
