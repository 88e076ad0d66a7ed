// read, write, fsync, fallocate, lseek, copy_file_range: on the handle's descriptor. Reads and
// writes come here only for files that are not in passthrough mode.
#include <fcntl.h>
#include <unistd.h>

#include "fs/caller.h"
#include "fs/operations.h"

namespace shufflefs::fs {
namespace {

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

void register_io_ops(fuse_lowlevel_ops& ops) {
  ops.read = read;
  ops.write_buf = write_buf;
  ops.fsync = fsync;
  ops.fallocate = fallocate;
  ops.lseek = lseek;
  ops.copy_file_range = copy_file_range;
}

}  // namespace shufflefs::fs
