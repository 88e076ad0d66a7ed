// What supervisor and worker, and an old and a new supervisor, tell each other through a socket:
// messages with at most one descriptor each, in order, whole or not at all (SOCK_SEQPACKET). What
// was sent before the sender was killed still arrives. And the largest of these: a mount as it
// passes from process to process.
//
// Threads: any; each message is one system call. Ownership: send() leaves descriptors to the
// caller, receive() gives new ones; the mount lives while any process has its connection open.
// Failure: an Error with the errno; the end of the other side is no message. Every wait has a
// bound.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "fs/saved_state.h"

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

// A mount as it passes from process to process: the connection to the kernel, what the kernel said
// first, what the filesystem has to remember (fs/saved_state.h), and the locks of its data
// directories. The supervisor owns one and lends it to each worker.
struct MountState {
  using KeptId = std::pair<fs::KeptKind, uint64_t>;

  std::string directory;
  Fd connection;
  unsigned connection_number = 0;
  std::vector<std::byte> init;
  bool can_resend = false;  // the kernel offers it
  std::array<Fd, fs::kSavedParts> tables;
  std::map<KeptId, Fd> kept;
  std::vector<Fd> locks;
  uint32_t generation = 0;  // workers that have served it
  Fd settings;              // as a TOML file
};

// Memory for the tables of a new mount.
[[nodiscard]] Status make_tables(MountState& state);

[[nodiscard]] Status send_state(int channel, const MountState& state);
[[nodiscard]] Result<MountState> receive_state(int channel, std::chrono::milliseconds patience);

}  // namespace shufflefs
