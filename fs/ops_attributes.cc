// getattr, setattr, statfs; extended attributes, ACLs among them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fs/caller.h"
#include "fs/operations.h"
#include "fs/os_files.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

// The file that a request is about: its open file if the request names one, else the inode's path
// descriptor.
struct Target {
  std::shared_ptr<const Tree> tree;
  std::shared_ptr<OpenFile> open_file;
  Node node;
  [[nodiscard]] int fd() const { return open_file ? open_file->fd.get() : node.fd.get(); }
};

OsResult<Target> find_target(Operations& ops, fuse_ino_t ino, const fuse_file_info* info) {
  Target target;
  if (info != nullptr) target.open_file = ops.handles.find(info->fh);
  if (target.open_file) {
    target.tree = target.open_file->tree;
    return target;
  }
  OsResult<Node> node = ops.native.node(ino);
  if (!node) return node.error();
  target.node = std::move(*node);
  target.tree = target.node.tree;
  return target;
}

void reply_attr(fuse_req_t req, fuse_ino_t ino, const Target& target) {
  struct stat attr{};
  if (::fstat(target.fd(), &attr) != 0) return void(fuse_reply_err(req, errno));
  attr.st_ino = NativeFs::shown_inode(*target.tree, attr.st_ino);
  fuse_reply_attr(req, &attr, operations(req).native.attribute_seconds(*target.tree, ino));
}

// fstat(2) comes without its file. A file that is being written is asked about often (Spark's
// writer does so after each partition), and most of the answer's time would go into opening it once
// more.
OsResult<Target> find_to_look_at(Operations& ops, fuse_ino_t ino, const fuse_file_info* info) {
  if (info == nullptr) {
    if (std::shared_ptr<OpenFile> open = ops.handles.any_of(ino)) {
      Target target;
      target.tree = open->tree;
      target.open_file = std::move(open);
      return target;
    }
  }
  return find_target(ops, ino, info);
}

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.getattr(req, ino);
  const OsResult<Target> target = find_to_look_at(ops, ino, info);
  if (!target) return void(fuse_reply_err(req, target.error().value));
  reply_attr(req, ino, *target);
}

int change_size(fuse_req_t req, const Target& target, off_t size) {
  if (!target.open_file) {
    if (const int refused = before_write(target.node); refused != 0) return refused;
  }
  // The kernel's setattr does not say whether the caller may keep setuid bits; only root may.
  const CallerScope caller(*fuse_req_ctx(req));
  const WithoutFsetid kill(fuse_req_ctx(req)->uid != 0);
  const int result = target.open_file ? ::ftruncate(target.fd(), size)
                                      : ::truncate(ProcPath(target.fd()).get(), size);
  return result == 0 ? 0 : errno;
}

int change_owner(const Target& target, const struct stat& attr, int to_set) {
  const uid_t uid = (to_set & FUSE_SET_ATTR_UID) != 0 ? attr.st_uid : static_cast<uid_t>(-1);
  const gid_t gid = (to_set & FUSE_SET_ATTR_GID) != 0 ? attr.st_gid : static_cast<gid_t>(-1);
  return ::fchownat(target.fd(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 ? 0
                                                                                         : errno;
}

int change_times(const Target& target, const struct stat& attr, int to_set) {
  const auto wanted = [to_set](int now_flag, int flag, const timespec& value) {
    if ((to_set & now_flag) != 0) return timespec{0, UTIME_NOW};
    if ((to_set & flag) != 0) return value;
    return timespec{0, UTIME_OMIT};
  };
  const std::array<timespec, 2> times{
      wanted(FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, attr.st_atim),
      wanted(FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, attr.st_mtim)};
  return ::utimensat(target.fd(), "", times.data(), AT_EMPTY_PATH) == 0 ? 0 : errno;
}

int change_attributes(fuse_req_t req, const Target& target, const struct stat& attr, int to_set) {
  int error = 0;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0 &&
      ::chmod(ProcPath(target.fd()).get(), attr.st_mode & 07777U) != 0) {
    error = errno;
  }
  if (error == 0 && (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    error = change_owner(target, attr, to_set);
  }
  if (error == 0 && (to_set & FUSE_SET_ATTR_SIZE) != 0)
    error = change_size(req, target, attr.st_size);
  constexpr int kTimes =
      FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  if (error == 0 && (to_set & kTimes) != 0) error = change_times(target, attr, to_set);
  // chown(-1, -1): nothing to set, but the time of change moves, as on the disk.
  constexpr int kKnown =
      kTimes | FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE;
  if ((to_set & kKnown) == 0) error = change_owner(target, attr, 0);
  return error;
}

void setattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.setattr(req, ino, attr, to_set);
  const OsResult<Target> target = find_target(ops, ino, info);
  if (!target) return void(fuse_reply_err(req, target.error().value));
  const ChangeScope scope = target->tree->hooks->change_scope();
  if (const int refused = before_attributes(*target->tree, target->fd()); refused != 0)
    return void(fuse_reply_err(req, refused));
  if (const int error = change_attributes(req, *target, *attr, to_set); error != 0) {
    return void(fuse_reply_err(req, error));
  }
  reply_attr(req, ino, *target);
}

void statfs(fuse_req_t req, fuse_ino_t ino) {
  Operations& ops = operations(req);
  struct statvfs space{};
  if (is_virtual(ino)) {
    space = ops.space.snapshot();
  } else {
    const OsResult<Node> node = ops.native.node(ino);
    if (!node) return void(fuse_reply_err(req, node.error().value));
    if (::fstatvfs(node->fd.get(), &space) != 0) return void(fuse_reply_err(req, errno));
  }
  fuse_reply_statfs(req, &space);
}

void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, std::size_t size,
              int flags) {
  if (!operations(req).has_xattrs) return void(fuse_reply_err(req, ENOSYS));
  Operations& ops = operations(req);
  if (is_virtual(ino)) return void(fuse_reply_err(req, EROFS));
  const OsResult<Node> node = ops.native.node(ino);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  const ChangeScope scope = node->tree->hooks->change_scope();
  if (const int refused = before_attributes(*node->tree, node->fd.get()); refused != 0)
    return void(fuse_reply_err(req, refused));
  if (current_request().resent) flags &= ~XATTR_CREATE;  // it may be there by our own doing
  if (::setxattr(ProcPath(node->fd.get()).get(), name, value, size, flags) != 0) {
    return void(fuse_reply_err(req, errno));
  }
  node->tree->hooks->after_attribute(path_of_descriptor(node->fd.get()), name);
  fuse_reply_err(req, 0);
}

void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  if (!operations(req).has_xattrs) return void(fuse_reply_err(req, ENOSYS));
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.getxattr(req, ino, name, size);
  std::vector<char> value(size);
  ssize_t length = 0;
  // The kernel asks for security.capability before a write, whenever it has asked for the size.
  if (const auto open = ops.handles.any_of(ino)) {
    length = ::fgetxattr(open->fd.get(), name, value.data(), size);
  } else {
    const OsResult<Node> node = ops.native.node(ino);
    if (!node) return void(fuse_reply_err(req, node.error().value));
    length = ::getxattr(ProcPath(node->fd.get()).get(), name, value.data(), size);
  }
  if (length < 0) return void(fuse_reply_err(req, errno));
  if (size == 0) return void(fuse_reply_xattr(req, static_cast<std::size_t>(length)));
  fuse_reply_buf(req, value.data(), static_cast<std::size_t>(length));
}

// Names that end in a zero byte each. Only root sees "trusted." names, as on a disk; we always are
// root.
std::string visible_names(std::string_view names, bool is_root) {
  std::string visible;
  for (std::size_t at = 0; at < names.size();) {
    const std::size_t end = names.find('\0', at) + 1;
    const std::string_view name = names.substr(at, end - at);
    if (is_root || !name.starts_with("trusted.")) visible += name;
    at = end;
  }
  return visible;
}

void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) {
  if (!operations(req).has_xattrs) return void(fuse_reply_err(req, ENOSYS));
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.listxattr(req, ino, size);
  const OsResult<Node> node = ops.native.node(ino);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  std::vector<char> names(XATTR_LIST_MAX);
  const ssize_t length = ::listxattr(ProcPath(node->fd.get()).get(), names.data(), names.size());
  if (length < 0) return void(fuse_reply_err(req, errno));
  const std::string visible =
      visible_names({names.data(), static_cast<std::size_t>(length)}, fuse_req_ctx(req)->uid == 0);
  if (size == 0) return void(fuse_reply_xattr(req, visible.size()));
  if (visible.size() > size) return void(fuse_reply_err(req, ERANGE));
  fuse_reply_buf(req, visible.data(), visible.size());
}

void removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
  if (!operations(req).has_xattrs) return void(fuse_reply_err(req, ENOSYS));
  Operations& ops = operations(req);
  if (is_virtual(ino)) return void(fuse_reply_err(req, EROFS));
  const OsResult<Node> node = ops.native.node(ino);
  if (!node) return void(fuse_reply_err(req, node.error().value));
  const ChangeScope scope = node->tree->hooks->change_scope();
  if (const int refused = before_attributes(*node->tree, node->fd.get()); refused != 0)
    return void(fuse_reply_err(req, refused));
  if (::removexattr(ProcPath(node->fd.get()).get(), name) != 0) {
    const int error = errno;
    if (error != ENODATA || !current_request().resent) return void(fuse_reply_err(req, error));
  }
  node->tree->hooks->after_attribute(path_of_descriptor(node->fd.get()), name);
  fuse_reply_err(req, 0);
}

}  // namespace

void register_attribute_ops(fuse_lowlevel_ops& ops) {
  ops.getattr = getattr;
  ops.setattr = setattr;
  ops.statfs = statfs;
  ops.setxattr = setxattr;
  ops.getxattr = getxattr;
  ops.listxattr = listxattr;
  ops.removexattr = removexattr;
}

}  // namespace shufflefs::fs
