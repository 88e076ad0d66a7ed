// Open files: open, create, tmpfile, release; read, write, fsync, fallocate, lseek, copy_file_range
// on the handle's descriptor. Reads and writes come here only for files that are not in passthrough
// mode.
//
// The kernel keeps O_APPEND and O_DIRECT for itself: it computes the offset of an appending write
// (or hands the flag to the backing file in passthrough mode), and a memory-mapped page that is
// written back through an appending handle must land where it belongs. So the daemon's descriptors
// have neither.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/caller.h"
#include "fs/operations.h"
#include "fs/os_files.h"
#include "fs/request.h"

namespace shufflefs::fs {
namespace {

constexpr int kBackingFlags = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC;

// Reading does not update access times, in neither mode; see NativeFs::open_for_passthrough.
int backing_flags(int flags) { return (flags & kBackingFlags) | O_NOATIME | O_CLOEXEC; }

bool opens_for_change(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

// Makes the handle and decides the mode; `info` is ready for the reply.
std::shared_ptr<OpenFile> add_handle(fuse_req_t req, fuse_ino_t ino,
                                     const std::shared_ptr<const Tree>& tree, Fd fd,
                                     fuse_file_info& info) {
  Operations& ops = operations(req);
  auto file = std::make_shared<OpenFile>(ino, info.flags, tree, std::move(fd));
  const Fd quiet = ops.native.open_for_passthrough(ino);
  {
    // The kernel writes to the backing file with the credentials that register it: those of who
    // opens it first.
    const CallerScope caller(*fuse_req_ctx(req));
    const WithoutFsetid kill(fuse_req_ctx(req)->uid != 0);
    if (ops.passthrough.open(ino, quiet ? quiet.get() : file->fd.get(), info))
      file->backing_id = info.backing_id;
  }
  info.keep_cache = !ops.passthrough.in_use() && tree->options.cache_seconds > 0 ? 1 : 0;
  info.fh = ops.handles.add(file, current_request().number);
  info.noflush = 1;  // nothing to do at close(2): writes have reached the disk's page cache, locks
                     // are the kernel's own
  info.parallel_direct_writes = 1;
  return file;
}

void drop_handle(Operations& ops, uint64_t key) {
  HandleTable::Removed removed = ops.handles.remove(key);
  if (!removed.file) return;
  ops.passthrough.close(removed.file->nodeid);
  if (!removed.was_last_writer) return;
  const std::shared_ptr<const Tree> tree = removed.file->tree;
  const std::string path = path_of_descriptor(removed.file->fd.get());
  removed.file.reset();
  tree->hooks->after_write_close(path);
}

// Before a request that comes again is executed again: closes what its first execution opened.
void drop_first_execution(Operations& ops) {
  const RequestId request = current_request();
  if (!request.resent) return;
  if (const uint64_t key = ops.handles.key_of_request(request.number); key != 0)
    drop_handle(ops, key);
}

void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.open(req, ino, info);
  drop_first_execution(ops);
  ChangeScope scope;
  if (opens_for_change(info->flags)) {
    const OsResult<Node> node = ops.native.node(ino);
    if (!node) return void(fuse_reply_err(req, node.error().value));
    scope = node->tree->hooks->change_scope();
    if (const int refused = before_write(*node); refused != 0)
      return void(fuse_reply_err(req, refused));
  }
  OsResult<Node> node = [&] {
    const WithoutFsetid kill((info->flags & O_TRUNC) != 0 && fuse_req_ctx(req)->uid != 0);
    return ops.native.open(ino, backing_flags(info->flags));
  }();
  if (!node) return void(fuse_reply_err(req, node.error().value));
  const auto file = add_handle(req, ino, node->tree, std::move(node->fd), *info);
  if (scope.owns_lock()) scope.unlock();
  if (fuse_reply_open(req, info) == -ENOENT) drop_handle(ops, file->key);
}

// The new file, or the one that is there by now. Only what has just been created may be opened by
// name: anything else could be a fifo.
OsResult<Fd> create_file(fuse_req_t req, const Node& directory, const char* name, mode_t mode,
                         int flags) {
  {
    const CreatorScope creator(*fuse_req_ctx(req));
    Fd fd(::openat(directory.fd.get(), name, backing_flags(flags) | O_CREAT | O_EXCL | O_NOFOLLOW,
                   mode));
    if (fd) return fd;
  }
  const bool may_be_ours = current_request().resent;
  if (errno != EEXIST || ((flags & O_EXCL) != 0 && !may_be_ours)) return last_errno();
  const Fd there(::openat(directory.fd.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat attr{};
  if (!there || ::fstat(there.get(), &attr) != 0) return last_errno();
  if ((flags & O_EXCL) != 0 && (attr.st_size != 0 || attr.st_nlink != 1)) return Errno{EEXIST};
  if (!S_ISREG(attr.st_mode)) return Errno{ESTALE};  // the kernel looks again and finds what it is
  Fd fd(::open(ProcPath(there.get()).get(), backing_flags(flags)));
  if (!fd) return last_errno();
  return fd;
}

// `is_nameless`: only its descriptors hold the file.
void reply_created(fuse_req_t req, const Node& directory, Fd fd, bool is_nameless,
                   ChangeScope scope, fuse_file_info* info) {
  Operations& ops = operations(req);
  // Without a handle the table wants an O_PATH descriptor to keep, not one that counts as a writer.
  Fd path_fd(::open(ProcPath(fd.get()).get(), O_PATH | O_CLOEXEC));
  if (!path_fd) return void(fuse_reply_err(req, errno));
  OsResult<fuse_entry_param> entry = ops.native.enter(directory.tree, path_fd);
  if (!entry) return void(fuse_reply_err(req, entry.error().value));
  const auto file = add_handle(req, entry->ino, directory.tree, std::move(fd), *info);
  entry->attr_timeout = ops.native.attribute_seconds(*directory.tree, entry->ino);
  if (is_nameless && file->backing_id == 0) ops.native.keep_open(*file);
  if (scope.owns_lock()) scope.unlock();
  if (fuse_reply_create(req, &*entry, info) != -ENOENT) return;
  drop_handle(ops, file->key);
  ops.native.forget(entry->ino, 1);
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  drop_first_execution(ops);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  ChangeScope scope = directory->tree->hooks->change_scope();
  if (const int refused = before_change(*directory, name); refused != 0)
    return void(fuse_reply_err(req, refused));
  OsResult<Fd> fd = create_file(req, *directory, name, mode, info->flags);
  if (!fd) return void(fuse_reply_err(req, fd.error().value));
  reply_created(req, *directory, std::move(*fd), false, std::move(scope), info);
}

void tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(parent)) return void(fuse_reply_err(req, EROFS));
  drop_first_execution(ops);
  const OsResult<Node> directory = ops.native.node(parent);
  if (!directory) return void(fuse_reply_err(req, directory.error().value));
  Fd fd;
  {
    const CreatorScope creator(*fuse_req_ctx(req));
    const int flags = backing_flags(info->flags) | O_TMPFILE | (info->flags & O_EXCL);
    fd = Fd(::openat(directory->fd.get(), ".", flags, mode));
  }
  if (!fd) return void(fuse_reply_err(req, errno));
  reply_created(req, *directory, std::move(fd), true, {}, info);
}

void flush(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*info*/) { fuse_reply_err(req, 0); }

void release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.release(req, ino, info);
  drop_handle(ops, info->fh);
  fuse_reply_err(req, 0);
}

std::shared_ptr<OpenFile> find_open(fuse_req_t req, fuse_file_info* info) {
  std::shared_ptr<OpenFile> file = operations(req).handles.find(info->fh);
  if (!file) fuse_reply_err(req, EBADF);
  return file;
}

fuse_bufvec file_range(const OpenFile& file, std::size_t size, off_t offset) {
  fuse_bufvec vector{};
  vector.count = 1;
  vector.buf[0].size = size;
  vector.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  vector.buf[0].fd = file.fd.get();
  vector.buf[0].pos = offset;
  return vector;
}

void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.read(req, ino, size, offset, info);
  const auto file = find_open(req, info);
  if (!file) return;
  ops.ordinary_reads.add();
  fuse_bufvec vector = file_range(*file, size, offset);
  fuse_reply_data(req, &vector, FUSE_BUF_SPLICE_MOVE);
}

void write_buf(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in, off_t offset,
               fuse_file_info* info) {
  Operations& ops = operations(req);
  if (is_virtual(ino)) return ops.virtual_ops.write(req, ino, in, info);
  const auto file = find_open(req, info);
  if (!file) return;
  ops.ordinary_writes.add();
  fuse_bufvec out = file_range(*file, fuse_buf_size(in), offset);
  ssize_t written = 0;
  {
    const CallerScope caller(*fuse_req_ctx(req));
    const WithoutFsetid kill(info->kill_suidgid != 0);
    written = fuse_buf_copy(&out, in, static_cast<fuse_buf_copy_flags>(0));
  }
  if (written < 0) return void(fuse_reply_err(req, static_cast<int>(-written)));
  fuse_reply_write(req, static_cast<std::size_t>(written));
}

void fsync(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* info) {
  if (is_virtual(ino)) return void(fuse_reply_err(req, 0));
  const auto file = find_open(req, info);
  if (!file) return;
  const int result = data_only != 0 ? ::fdatasync(file->fd.get()) : ::fsync(file->fd.get());
  fuse_reply_err(req, result == 0 ? 0 : errno);
}

void fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
               fuse_file_info* info) {
  if (is_virtual(ino)) return void(fuse_reply_err(req, EROFS));
  const auto file = find_open(req, info);
  if (!file) return;
  int result = 0;
  {
    const CallerScope caller(*fuse_req_ctx(req));
    const WithoutFsetid kill(fuse_req_ctx(req)->uid != 0);
    result = ::fallocate(file->fd.get(), mode, offset, length) == 0 ? 0 : errno;
  }
  fuse_reply_err(req, result);
}

void lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* info) {
  // Only SEEK_DATA and SEEK_HOLE come here. A virtual file has no holes that anybody should know
  // of.
  if (is_virtual(ino)) return void(fuse_reply_err(req, EINVAL));
  // The disk does not know what is stored in the kernel's pages. Without this request the kernel
  // says that there are no holes.
  if (!operations(req).passthrough.in_use()) return void(fuse_reply_err(req, ENOSYS));
  const auto file = find_open(req, info);
  if (!file) return;
  const off_t found = ::lseek(file->fd.get(), offset, whence);
  if (found < 0) return void(fuse_reply_err(req, errno));
  fuse_reply_lseek(req, found);
}

void copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in, fuse_file_info* info_in,
                     fuse_ino_t ino_out, off_t offset_out, fuse_file_info* info_out,
                     std::size_t length, int flags) {
  // The kernel then copies by reading and writing.
  if (is_virtual(ino_in) || is_virtual(ino_out)) return void(fuse_reply_err(req, EOPNOTSUPP));
  const auto in = find_open(req, info_in);
  if (!in) return;
  const auto out = find_open(req, info_out);
  if (!out) return;
  ssize_t copied = 0;
  int error = 0;
  {
    const CallerScope caller(*fuse_req_ctx(req));
    const WithoutFsetid kill(fuse_req_ctx(req)->uid != 0);
    copied = ::copy_file_range(in->fd.get(), &offset_in, out->fd.get(), &offset_out, length,
                               static_cast<unsigned>(flags));
    error = errno;
  }
  if (copied < 0) return void(fuse_reply_err(req, error));
  fuse_reply_write(req, static_cast<std::size_t>(copied));
}

}  // namespace

void register_file_ops(fuse_lowlevel_ops& ops) {
  ops.open = open;
  ops.create = create;
  ops.tmpfile = tmpfile;
  ops.flush = flush;
  ops.release = release;
  ops.read = read;
  ops.write_buf = write_buf;
  ops.fsync = fsync;
  ops.fallocate = fallocate;
  ops.lseek = lseek;
  ops.copy_file_range = copy_file_range;
}

}  // namespace shufflefs::fs
