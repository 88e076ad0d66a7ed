// FUSE_INIT, the kernel's first message on a new mount, which it sends once. Whoever holds the
// mount reads it before any worker starts, and every worker is fed it: the first one's answer
// counts, the kernel ignores the others. Layouts from <linux/fuse.h> (protocol 7.36 and later).
//
// Threads: any. Failure: an Error; the wait has a bound. Cost: once in the life of a mount.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"

namespace shufflefs::fs {

// struct fuse_in_header, in front of every request.
struct RequestHeader {
  uint32_t length;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint32_t rest;
};
static_assert(sizeof(RequestHeader) == 40);

// Reads it from the connection of a new mount.
[[nodiscard]] Result<std::vector<std::byte>> read_init(int connection,
                                                       std::chrono::milliseconds patience);

// Whether this kernel sends requests again that a dead worker left unanswered (6.9 or later).
// Without it those calls would wait for ever.
[[nodiscard]] bool offers_resend(const std::vector<std::byte>& init);

}  // namespace shufflefs::fs
