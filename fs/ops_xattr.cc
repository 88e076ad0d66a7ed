// Extended attributes, ACLs among them.
#include <sys/xattr.h>

#include <string>
#include <string_view>
#include <vector>

#include "fs/caller.h"
#include "fs/operations.h"
#include "fs/proc_path.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, std::size_t size,
              int flags) {
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

void register_xattr_ops(fuse_lowlevel_ops& ops) {
  ops.setxattr = setxattr;
  ops.getxattr = getxattr;
  ops.listxattr = listxattr;
  ops.removexattr = removexattr;
}

}  // namespace shufflefs::fs
