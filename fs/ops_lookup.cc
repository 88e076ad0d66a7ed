// lookup, forget, readlink.
#include <unistd.h>

#include <array>
#include <climits>
#include <span>

#include "fs/operations.h"

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

}  // namespace

void register_lookup_ops(fuse_lowlevel_ops& ops) {
  ops.lookup = lookup;
  ops.forget = forget;
  ops.forget_multi = forget_multi;
  ops.readlink = readlink;
}

}  // namespace shufflefs::fs
