// Names: lookup, forget, readlink; mkdir, mknod, symlink, link; rename, unlink, rmdir; and the
// reading of directories.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <span>
#include <string_view>

#include "fs/caller.h"
#include "fs/directory.h"
#include "fs/operations.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Operations& ops = operations(req);
  if (is_virtual(parent)) return ops.virtual_ops.lookup(req, parent, name);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  const OsResult<fuse_entry_param> entry = ops.native.lookup(*directory, name);
  if (entry) return reply_entry(req, ops.native, *entry);
  const double cache_seconds = directory->tree->options.cache_seconds;
  if (entry.error().value != ENOENT || cache_seconds == 0) {
    return void(fuse_reply_err(req, entry.error().value));
  }
  fuse_entry_param missing{};  // ino 0: the kernel may remember that there is nothing
  missing.entry_timeout = cache_seconds;
  fuse_reply_entry(req, &missing);
}

void forget_one(Operations& ops, fuse_ino_t ino, uint64_t count) {
  if (is_virtual(ino)) return ops.virtual_ops.forget(ino, count);
  ops.native.forget(ino, count);
}

void forget(fuse_req_t req, fuse_ino_t ino, uint64_t count) {
  forget_one(operations(req), ino, count);
  fuse_reply_none(req);
}

void forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
  for (const fuse_forget_data& one : std::span(forgets, count)) {
    forget_one(operations(req), one.ino, one.nlookup);
  }
  fuse_reply_none(req);
}

void readlink(fuse_req_t req, fuse_ino_t ino) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.readlink(req, ino);
  const OsResult<Node> node = ops.native.node(ino);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  std::array<char, PATH_MAX + 1> target{};
  const ssize_t length = ::readlinkat(node->fd.get(), "", target.data(), PATH_MAX);
  if (length < 0) return void(fuse_reply_err(req, errno));
  target.at(static_cast<std::size_t>(length)) = '\0';
  fuse_reply_readlink(req, target.data());
}

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

bool exists(const Node& directory, const char* name) {
  struct stat attr{};
  return ::fstatat(directory.fd.get(), name, &attr, AT_SYMLINK_NOFOLLOW) == 0;
}

// The kernel had found the old name before it asked: who could have taken it away but us?
bool was_renamed_before(const Node& from, const char* name, const Node& to, const char* new_name) {
  return current_request().resent && !exists(from, name) && exists(to, new_name);
}

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Operations& ops = operations(req);
  if (is_virtual(parent) != is_virtual(new_parent)) return void(fuse_reply_err(req, EXDEV));
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  // Done again after a worker's death it would be undone, and the directory would not show it.
  if ((flags & RENAME_EXCHANGE) != 0) return void(fuse_reply_err(req, EINVAL));
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
  const auto scope = hooks.commit_scope(name_in(*from, name), name_in(*to, new_name));
  if (!scope) return void(fuse_reply_err(req, scope.error().fuse_errno()));
  if (const Status allowed = hooks.before_rename(name_in(*from, name), name_in(*to, new_name));
      !allowed) {
    return void(fuse_reply_err(req, allowed.error().fuse_errno()));
  }
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

void opendir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.opendir(req, ino, info);
  const RequestId request = current_request();
  if (request.resent) ops.handles.remove(ops.handles.key_of_request(request.number));
  OsResult<Node> node = ops.native.open(ino, O_RDONLY | O_DIRECTORY);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  const auto file = std::make_shared<OpenFile>(ino, O_RDONLY, node->tree, std::move(node->fd));
  file->cursor = std::make_unique<DirectoryCursor>(file->fd.get());
  info->fh = ops.handles.add(file, request.number);
  // The kernel may keep what it has read of a directory until something is changed through the
  // mount, which is the only writer.
  info->cache_readdir = info->keep_cache = node->tree->options.cache_seconds > 0 ? 1 : 0;
  if (fuse_reply_open(req, info) == -ENOENT) ops.handles.remove(file->key);
}

bool is_dot_or_dotdot(std::string_view name) { return name == "." || name == ".."; }

// Adds one entry. False: no room.
bool add_entry(NativeFs& native, const Node& directory, const DirectoryCursor::Entry& entry,
               DirectoryReply& reply) {
  struct stat attr{};
  attr.st_ino = NativeFs::shown_inode(*directory.tree, entry.inode);
  attr.st_mode = entry.type;
  if (!reply.plus() || is_dot_or_dotdot(entry.name))
    return reply.add(entry.name, attr, entry.next_offset);
  const OsResult<fuse_entry_param> found = native.lookup(directory, entry.name);
  if (!found) {
    if (found.error().value == ENOENT) return true;  // removed since the directory was read
    return reply.add(entry.name, attr, entry.next_offset);
  }
  if (reply.add(entry.name, *found, entry.next_offset)) return true;
  native.forget(found->ino, 1);
  return false;
}

void read_directory(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, bool plus,
                    fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.readdir(req, ino, size, offset, plus, info);
  const std::shared_ptr<OpenFile> file = ops.handles.find(info->fh);
  if (!file || !file->cursor) return void(fuse_reply_err(req, EBADF));
  Node directory{.tree = file->tree,
                 .fd = Fd(::openat(file->fd.get(), ".", O_PATH | O_CLOEXEC)),
                 .nodeid = ino};
  DirectoryReply reply(req, size, plus && directory.fd);

  MutexLock lock(file->cursor->mu);
  if (const OsResult<void> moved = file->cursor->seek(offset); !moved) {
    lock.unlock();
    return void(fuse_reply_err(req, moved.error().value));
  }
  while (true) {
    const OsResult<DirectoryCursor::Entry> entry = file->cursor->next();
    if (!entry) {
      lock.unlock();
      // Entries that were added carry lookups that the kernel must learn of; it meets the error at
      // its next call.
      if (reply.empty()) return void(fuse_reply_err(req, entry.error().value));
      return reply.send();
    }
    if (entry->name == nullptr || !add_entry(ops.native, directory, *entry, reply)) break;
  }
  lock.unlock();  // the answer may bring the RELEASEDIR that destroys it
  reply.send();
}

void readdir(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  read_directory(req, ino, size, offset, false, info);
}

void readdirplus(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset,
                 fuse_file_info* info) {
  read_directory(req, ino, size, offset, true, info);
}

void releasedir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.releasedir(req, ino, info);
  ops.handles.remove(info->fh);
  fuse_reply_err(req, 0);
}

void fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* info) {
  if (is_virtual(ino)) return void(fuse_reply_err(req, 0));
  const std::shared_ptr<OpenFile> file = operations(req).handles.find(info->fh);
  if (!file) return void(fuse_reply_err(req, EBADF));
  const int result = data_only != 0 ? ::fdatasync(file->fd.get()) : ::fsync(file->fd.get());
  fuse_reply_err(req, result == 0 ? 0 : errno);
}

}  // namespace

void register_name_ops(fuse_lowlevel_ops& ops) {
  ops.lookup = lookup;
  ops.forget = forget;
  ops.forget_multi = forget_multi;
  ops.readlink = readlink;
  ops.mkdir = mkdir;
  ops.mknod = mknod;
  ops.symlink = symlink;
  ops.link = link;
  ops.rename = rename;
  ops.unlink = unlink;
  ops.rmdir = rmdir;
  ops.opendir = opendir;
  ops.readdir = readdir;
  ops.readdirplus = readdirplus;
  ops.releasedir = releasedir;
  ops.fsyncdir = fsyncdir;
}

}  // namespace shufflefs::fs
