// The number of the request that a FUSE thread is working on, and whether the kernel has sent it a
// second time (bit 63, FUSE_UNIQUE_RESEND in <linux/fuse.h>, kernel 6.9): then a worker that has
// died since may have executed it already, wholly or in part, without answering.
//
// libfuse does not show the number, so the session notes it as it reads the request. The kernel
// holds the directory's lock from the first sending to the answer, so nobody else has changed the
// names of a re-sent request in between: what we find there is our own work.
//
// Threads: per thread; valid until the handler returns, so copy it into what answers later.
#pragma once

#include <cstdint>

namespace shufflefs::fs {

struct RequestId {
  uint64_t number = 0;  // without the bit; never given out twice in the life of a mount
  bool resent = false;
  // As the kernel has sent it, and wants it back in the answer.
  [[nodiscard]] uint64_t unique() const { return number | (resent ? kResentBit : 0); }

  static constexpr uint64_t kResentBit = uint64_t{1} << 63U;
};

[[nodiscard]] RequestId current_request();
// `unique` as in struct fuse_in_header.
void note_request(uint64_t unique);

}  // namespace shufflefs::fs
