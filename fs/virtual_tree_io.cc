// VirtualTree: open, read, release.
#include <fcntl.h>

#include <algorithm>
#include <array>

#include "fs/virtual_tree.h"

namespace shufflefs::fs {
namespace {

// An open file is there, whatever has become of what it shows: its reads give data or this.
constexpr int kReadFailed = EIO;

bool is_growing(NodeKind kind) { return kind == NodeKind::kPartition || kind == NodeKind::kMerged; }

}  // namespace

void VirtualTree::open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  Reply reply(req);
  const RequestId request = current_request();
  drop_first_execution(request);
  auto node = inodes_.find(ino);
  if (!node) return reply.error(ESTALE);
  if (node->kind != NodeKind::kReport &&
      ((info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0))
    return reply.error(EROFS);
  gate_.spawn(open_later(std::move(reply), request.number, ino, std::move(*node)));
}

// What the same request opened before a worker died, the kernel never learnt of.
void VirtualTree::drop_first_execution(const RequestId& request) {
  if (!request.resent) return;
  if (const uint64_t key = handles_.key_of_request(request.number); key != 0) close_handle(key);
}

Task<void> VirtualTree::open_later(Reply reply, uint64_t request, fuse_ino_t ino,
                                   VirtualNode node) {
  auto opened = co_await contents_.open(node);
  if (!opened) co_return reply.error(opened.error());
  finish_open(std::move(reply), request, ino, node, std::move(*opened));
}

void VirtualTree::finish_open(Reply reply, uint64_t request, fuse_ino_t ino,
                              const VirtualNode& node, VirtualContents::Opened opened) {
  fuse_file_info info{};
  info.direct_io = 1;
  info.noflush = 1;
  VirtualOpen open{.nodeid = ino, .file = opened.file};
  if (is_growing(node.kind)) {
    const bool possible = choose_mode(ino, opened, info, open);
    inodes_.retire(ino);  // the next open gets an inode of its own
    if (!possible) {
      close_file(std::move(opened.file));
      return reply.error(ESTALE);
    }
  }
  info.fh = handles_.add(std::move(open), request);
  if (!reply.open(info)) close_handle(info.fh);
}

// False: this inode cannot take the open (virtual_modes.h).
bool VirtualTree::choose_mode(fuse_ino_t ino, const VirtualContents::Opened& opened,
                              fuse_file_info& info, VirtualOpen& open) {
  const uint64_t bytes = opened.file->size();
  OpenModes::Verdict verdict = modes_.begin(ino, bytes, opened.whole.has_value());
  if (verdict == OpenModes::Verdict::kPassthrough) {
    if (passthrough_.open(ino, opened.whole->get(), info)) {
      modes_.opened(ino, bytes);
      info.direct_io = 0;  // it would go before passthrough
      open.backing_id = info.backing_id;
    } else {
      passthrough_.close(ino);
      verdict = modes_.begin(ino, bytes, false);
    }
  }
  if (verdict == OpenModes::Verdict::kStale) return false;
  open.has_mode = true;
  return true;
}

void VirtualTree::read(fuse_req_t req, fuse_ino_t /*ino*/, std::size_t size, off_t offset,
                       fuse_file_info* info) {
  Reply reply(req);
  const VirtualOpen open = handles_.find(info->fh);
  if (!open.file) return reply.error(kReadFailed);
  const auto start = static_cast<uint64_t>(offset);
  const auto wanted = static_cast<uint32_t>(std::min<std::size_t>(size, merge::kMaxReadBytes));
  if (const auto text = open.file->text()) {
    const std::string_view part =
        start < text->size() ? text->substr(start, wanted) : std::string_view();
    return reply.bytes(std::as_bytes(std::span(part)));
  }
  if (const int fd = open.file->descriptor(); fd >= 0) return reply.file_range(fd, wanted, offset);
  gate_.spawn(read_later(std::move(reply), open.file, start, wanted));
}

Task<void> VirtualTree::read_later(Reply reply, std::shared_ptr<VirtualFile> file, uint64_t offset,
                                   uint32_t size) {
  const auto bytes = co_await file->read(offset, size);
  if (bytes)
    reply.bytes(bytes->span());
  else
    reply.error(kReadFailed);  // the log says why
}

// A write is one report, whatever its offset.
void VirtualTree::write(fuse_req_t req, fuse_ino_t ino, fuse_bufvec* in, fuse_file_info* /*info*/) {
  const auto node = inodes_.find(ino);
  if (!node || node->kind != NodeKind::kReport || report_ == nullptr)
    return void(fuse_reply_err(req, EROFS));
  std::array<char, ClientReport::kMostBytes> text{};
  const std::size_t size = fuse_buf_size(in);
  if (size > text.size()) return void(fuse_reply_err(req, EINVAL));
  fuse_bufvec out{};
  out.count = 1;
  out.buf[0].mem = text.data();
  out.buf[0].size = size;
  const ssize_t copied = fuse_buf_copy(&out, in, static_cast<fuse_buf_copy_flags>(0));
  if (copied < 0) return void(fuse_reply_err(req, static_cast<int>(-copied)));
  const Status taken = report_->take({text.data(), static_cast<std::size_t>(copied)});
  if (!taken) return void(fuse_reply_err(req, taken.error().fuse_errno()));
  fuse_reply_write(req, size);
}

void VirtualTree::release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* info) {
  Reply reply(req);
  close_handle(info->fh);
  reply.done();
}

void VirtualTree::close_handle(uint64_t key) {
  VirtualOpen open = handles_.remove(key);
  if (open.backing_id != 0) passthrough_.close(open.nodeid);
  if (open.has_mode) modes_.released(open.nodeid);
  close_file(std::move(open.file));
}

void VirtualTree::close_file(std::shared_ptr<VirtualFile> file) {
  if (!file || file->text() || file->descriptor() >= 0) return;
  gate_.spawn(close_later(std::move(file)));
}

Task<void> VirtualTree::close_later(std::shared_ptr<VirtualFile> file) { co_await file->close(); }

}  // namespace shufflefs::fs
