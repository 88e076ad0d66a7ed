#include "fs/init_message.h"

#include <poll.h>
#include <unistd.h>

#include <cstring>

namespace shufflefs::fs {
namespace {

constexpr uint32_t kInit = 26;
constexpr uint32_t kHasSecondFlags = 1U << 30U;
constexpr uint32_t kHasResend = 1U << (39U - 32U);  // in the second flags

struct InitBody {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
};

}  // namespace

Result<std::vector<std::byte>> read_init(int connection, std::chrono::milliseconds patience) {
  pollfd wanted{connection, POLLIN, 0};
  if (::poll(&wanted, 1, static_cast<int>(patience.count())) != 1)
    return make_error(Code::kMount, "the kernel has not greeted the new mount in time");
  // The kernel refuses to fill a buffer that could not hold the largest write.
  std::vector<std::byte> message((1U << 20U) + 4096);
  const ssize_t got = ::read(connection, message.data(), message.size());
  if (got < 0) return errno_error("cannot read the kernel's greeting of the new mount");
  message.resize(static_cast<std::size_t>(got));
  RequestHeader header{};
  if (message.size() < sizeof header + 4 * sizeof(uint32_t))
    return make_error(Code::kMount, "the kernel's greeting is cut short");
  std::memcpy(&header, message.data(), sizeof header);
  if (header.opcode != kInit)
    return make_error(Code::kMount, "the kernel's first message is no greeting");
  return message;
}

bool offers_resend(const std::vector<std::byte>& init) {
  InitBody body{};
  if (init.size() < sizeof(RequestHeader) + sizeof body) return false;
  std::memcpy(&body, init.data() + sizeof(RequestHeader), sizeof body);
  return (body.flags & kHasSecondFlags) != 0 && (body.flags2 & kHasResend) != 0;
}

}  // namespace shufflefs::fs
