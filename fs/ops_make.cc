// mkdir, mknod, symlink, link: new names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <string_view>

#include "fs/caller.h"
#include "fs/operations.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

// What `name` is now; type 0 if that cannot be said.
struct stat look_at(int directory, const char* name) {
  struct stat attr{};
  if (::fstatat(directory, name, &attr, AT_SYMLINK_NOFOLLOW) != 0) attr.st_mode = 0;
  return attr;
}

// Runs `make(directory_fd)`, which creates `name`, as the caller, and answers with the new entry.
// `is_made(directory_fd)`: what the name stands for is what `make` would make of it.
template <class Make, class IsMade>
void make_entry(fuse_req_t req, fuse_ino_t parent, const char* name, Make make, IsMade is_made) {
  Operations& ops = operations(req);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  const ChangeScope scope = directory->tree->hooks->change_scope();
  if (const int refused = before_change(*directory, name); refused != 0)
    return void(fuse_reply_err(req, refused));
  int error = 0;
  {
    const CreatorScope creator(*fuse_req_ctx(req));
    if (make(directory->fd.get()) != 0) error = errno;
  }
  const bool made_before =
      error == EEXIST && current_request().resent && is_made(directory->fd.get());
  if (error != 0 && !made_before) return void(fuse_reply_err(req, error));
  const OsResult<fuse_entry_param> entry = ops.native.lookup(*directory, name);
  if (!entry) return void(fuse_reply_err(req, entry.error().value));
  reply_entry(req, ops.native, *entry);
}

void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  if (is_virtual(parent)) return operations(req).virtual_ops.mkdir(req, parent, name, mode);
  make_entry(
      req, parent, name, [&](int directory) { return ::mkdirat(directory, name, mode); },
      [&](int directory) { return S_ISDIR(look_at(directory, name).st_mode); });
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  make_entry(
      req, parent, name, [&](int directory) { return ::mknodat(directory, name, mode, device); },
      [&](int directory) {
        const struct stat there = look_at(directory, name);
        return (there.st_mode & S_IFMT) == (mode & S_IFMT) && there.st_rdev == device;
      });
}

void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  make_entry(
      req, parent, name, [&](int directory) { return ::symlinkat(target, directory, name); },
      [&](int directory) {
        std::array<char, PATH_MAX> there{};
        const ssize_t length = ::readlinkat(directory, name, there.data(), there.size());
        return length >= 0 && std::string_view(there.data(), static_cast<std::size_t>(length)) ==
                                  std::string_view(target);
      });
}

bool is_same_file(const Node& node, int directory, const char* name) {
  struct stat attr{};
  if (::fstat(node.fd.get(), &attr) != 0) return false;
  const struct stat there = look_at(directory, name);
  return there.st_dev == attr.st_dev && there.st_ino == attr.st_ino && there.st_mode != 0;
}

// 0 or the errno to answer.
int before_new_name(const Node& node, const Node& directory, const char* new_name) {
  if (const int refused = before_attributes(*node.tree, node.fd.get()); refused != 0)
    return refused;
  if (const int refused = before_change(directory, new_name); refused != 0) return refused;
  struct stat attr{};
  if (::fstat(node.fd.get(), &attr) != 0) return errno;
  const Status allowed =
      directory.tree->hooks->before_link(name_in(directory, new_name), attr.st_nlink);
  return allowed ? 0 : allowed.error().fuse_errno();
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
  ChangeScope scope = directory->tree->hooks->change_scope();
  if (const int refused = before_new_name(*node, *directory, new_name); refused != 0)
    return void(fuse_reply_err(req, refused));
  if (::linkat(node->fd.get(), "", directory->fd.get(), new_name, AT_EMPTY_PATH) != 0) {
    const int error = errno;
    const bool linked_before = error == EEXIST && current_request().resent &&
                               is_same_file(*node, directory->fd.get(), new_name);
    if (!linked_before) return void(fuse_reply_err(req, error));
  }
  if (scope.owns_lock()) scope.unlock();
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
