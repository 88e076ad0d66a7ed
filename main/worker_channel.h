// The socket between the supervisor and its worker, and between an old and a new supervisor:
// messages with at most one descriptor each, in order, whole or not at all (SOCK_SEQPACKET). What
// was sent before the sender was killed still arrives.
//
// Threads: any; each message is one system call. Ownership: send() leaves descriptors to the
// caller, receive() gives new ones. Failure: an Error with the errno; the end of the other side is
// no message. Every wait has a bound.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs {

enum class Message : uint32_t {
  // What a mount consists of; the receiver goes on with it at kStart.
  kConnection = 1,  // id: connection number; text: mount directory; fd: /dev/fuse
  kTable,           // id: SavedPart; fd
  kLock,            // fd: the lock of a data directory
  kKept,            // kind, id, fd: as in fs::KeptFile
  kInit,            // text: the kernel's FUSE_INIT
  kSettings,        // fd: a TOML file
  kStart,           // id: generation; kind: 1 if requests are to be sent again
  // To a worker.
  kStop,      // unmount and end
  kHandOver,  // end, and leave the mount to another
  // From a worker.
  kKeep,      // kind, id, fd
  kDrop,      // kind, id
  kReady,     // it serves
  kLogLevel,  // kind: LogLevel; also for the supervisor and the workers to come
  // Between supervisors (control_socket.h).
  kTakeOver,  // text: what the new one would run with
  kRefused,   // text: why not
  kTaken,     // the new one has everything
};

struct ChannelMessage {
  Message type{};
  uint32_t kind = 0;
  uint64_t id = 0;
  std::string text;  // at most kLongestText
  Fd fd;
};

inline constexpr std::size_t kLongestText = 64 * 1024;

// Both ends. They are inherited by no program unless told so.
[[nodiscard]] Result<std::pair<Fd, Fd>> make_channel();

struct ToSend {
  Message type{};
  uint32_t kind = 0;
  uint64_t id = 0;
  std::string_view text = {};
  int fd = -1;
};
[[nodiscard]] Status send(int channel, const ToSend& message);
// Nothing at the end of the other side; kTimeout if no message comes in time.
[[nodiscard]] Result<std::optional<ChannelMessage>> receive(int channel,
                                                            std::chrono::milliseconds patience);

}  // namespace shufflefs
