// opendir, readdir, readdirplus, releasedir, fsyncdir.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "fs/directory_cursor.h"
#include "fs/directory_reply.h"
#include "fs/operations.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

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

void register_dir_ops(fuse_lowlevel_ops& ops) {
  ops.opendir = opendir;
  ops.readdir = readdir;
  ops.readdirplus = readdirplus;
  ops.releasedir = releasedir;
  ops.fsyncdir = fsyncdir;
}

}  // namespace shufflefs::fs
