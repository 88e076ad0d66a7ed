// One FUSE request that is answered exactly once: by one of the members, or with EIO by the
// destructor. So a coroutine that is cancelled at stop, dropped unrun by a closed gate or left by
// an exception still answers the kernel.
//
// Threads: any, one at a time; it may be made on a FUSE thread and answered on the reactor.
// Ownership: move-only. The FUSE session must outlive it. Failure: the members that hand the kernel
// something to keep (a lookup, a handle) say whether it arrived; if not (the caller was killed
// meanwhile) it has to be taken back.
#pragma once

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <cerrno>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace shufflefs::fs {

class Reply {
 public:
  explicit Reply(fuse_req_t req) : req_(req) {}
  Reply(Reply&& other) noexcept : req_(std::exchange(other.req_, nullptr)) {}
  Reply& operator=(Reply&&) = delete;
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply() {
    if (req_ != nullptr) fuse_reply_err(req_, EIO);
  }

  // Still unanswered; for fuse_req_ctx() and fuse_passthrough_open().
  [[nodiscard]] fuse_req_t request() const { return req_; }

  void error(int error_number) { fuse_reply_err(take(), error_number); }
  void error(const Error& error) { fuse_reply_err(take(), error.fuse_errno()); }
  void done() { fuse_reply_err(take(), 0); }
  [[nodiscard]] bool entry(const fuse_entry_param& entry) {
    return fuse_reply_entry(take(), &entry) == 0;
  }
  [[nodiscard]] bool open(const fuse_file_info& info) {
    return fuse_reply_open(take(), &info) == 0;
  }
  void attributes(const struct stat& attr, double timeout_s) {
    fuse_reply_attr(take(), &attr, timeout_s);
  }
  void bytes(std::span<const std::byte> bytes) {
    fuse_reply_buf(take(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  // Bytes of an open file, which the kernel may splice.
  void file_range(int fd, std::size_t size, off_t offset) {
    fuse_bufvec vector{};
    vector.count = 1;
    vector.buf[0].size = size;
    vector.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
    vector.buf[0].fd = fd;
    vector.buf[0].pos = offset;
    fuse_reply_data(take(), &vector, FUSE_BUF_SPLICE_MOVE);
  }
  // An extended attribute or a list of them: the length if `room` is 0, ERANGE if it does not fit.
  void xattr(std::string_view value, std::size_t room) {
    if (room == 0)
      fuse_reply_xattr(take(), value.size());
    else if (room < value.size())
      error(ERANGE);
    else
      fuse_reply_buf(take(), value.data(), value.size());
  }

 private:
  [[nodiscard]] fuse_req_t take() { return std::exchange(req_, nullptr); }

  fuse_req_t req_;
};

}  // namespace shufflefs::fs
