#include "main/worker_channel.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace shufflefs {
namespace {

struct Head {
  Message type{};
  uint32_t kind = 0;
  uint64_t id = 0;
};

// Aligned as CMSG_DATA needs it.
struct Control {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
};

// A receiver that does not read holds nobody up for longer.
constexpr timeval kSendPatience{5, 0};

Fd descriptor_in(msghdr& header) {
  cmsghdr* const control = CMSG_FIRSTHDR(&header);
  if (control == nullptr || control->cmsg_type != SCM_RIGHTS) return Fd();
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
  return Fd(fd);
}

}  // namespace

Result<std::pair<Fd, Fd>> make_channel() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return errno_error("cannot make a socket pair");
  for (const int end : ends)
    ::setsockopt(end, SOL_SOCKET, SO_SNDTIMEO, &kSendPatience, sizeof kSendPatience);
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

Status send(int channel, const ToSend& message) {
  Head head{message.type, message.kind, message.id};
  std::array<iovec, 2> parts{iovec{&head, sizeof head},
                             iovec{const_cast<char*>(message.text.data()), message.text.size()}};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  Control control;
  if (message.fd >= 0) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &message.fd, sizeof(int));
  }
  while (::sendmsg(channel, &header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return errno_error("cannot send to the other process");
  }
  return ok();
}

Result<std::optional<ChannelMessage>> receive(int channel, std::chrono::milliseconds patience) {
  pollfd wanted{channel, POLLIN, 0};
  const int ready = ::poll(&wanted, 1, static_cast<int>(patience.count()));
  if (ready < 0 && errno != EINTR) return errno_error("cannot wait for the other process");
  if (ready <= 0)
    return make_error(Code::kTimeout, "the other process has not said anything in time");
  Head head;
  std::string text(kLongestText, '\0');
  std::array<iovec, 2> parts{iovec{&head, sizeof head}, iovec{text.data(), text.size()}};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  Control control;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  const ssize_t got = ::recvmsg(channel, &header, MSG_CMSG_CLOEXEC);
  if (got < 0) {
    if (errno == ECONNRESET) return std::optional<ChannelMessage>();
    return errno_error("cannot receive from the other process");
  }
  if (got == 0) return std::optional<ChannelMessage>();
  ChannelMessage message;
  message.fd = descriptor_in(header);
  if (static_cast<std::size_t>(got) < sizeof head || (header.msg_flags & MSG_TRUNC) != 0)
    return make_error(Code::kProtocol, "a message of the other process is cut short");
  text.resize(static_cast<std::size_t>(got) - sizeof head);
  message.type = head.type;
  message.kind = head.kind;
  message.id = head.id;
  message.text = std::move(text);
  return std::optional(std::move(message));
}

Status make_tables(MountState& state) {
  for (Fd& table : state.tables) {
    table = Fd(::memfd_create("shufflefs-state", MFD_CLOEXEC));
    if (!table) return errno_error("cannot make memory for the mount's state");
  }
  return ok();
}

Status send_state(int channel, const MountState& state) {
  TRY(send(channel, {.type = Message::kConnection,
                     .id = state.connection_number,
                     .text = state.directory,
                     .fd = state.connection.get()}));
  for (std::size_t i = 0; i < state.tables.size(); ++i)
    TRY(send(channel, {.type = Message::kTable, .id = i, .fd = state.tables.at(i).get()}));
  for (const Fd& lock : state.locks) TRY(send(channel, {.type = Message::kLock, .fd = lock.get()}));
  for (const auto& [id, fd] : state.kept) {
    TRY(send(channel, {.type = Message::kKept,
                       .kind = static_cast<uint32_t>(id.first),
                       .id = id.second,
                       .fd = fd.get()}));
  }
  const std::string_view init(reinterpret_cast<const char*>(state.init.data()), state.init.size());
  TRY(send(channel, {.type = Message::kInit, .text = init}));
  TRY(send(channel, {.type = Message::kSettings, .fd = state.settings.get()}));
  return send(
      channel,
      {.type = Message::kStart, .kind = state.can_resend ? 1U : 0U, .id = state.generation});
}

Result<MountState> receive_state(int channel, std::chrono::milliseconds patience) {
  MountState state;
  while (true) {
    TRY_ASSIGN(std::optional<ChannelMessage> message, receive(channel, patience));
    if (!message) return make_error(Code::kPeerUnreachable, "the supervisor is gone");
    switch (message->type) {
      case Message::kConnection:
        state.directory = std::move(message->text);
        state.connection = std::move(message->fd);
        state.connection_number = static_cast<unsigned>(message->id);
        break;
      case Message::kTable:
        if (message->id < state.tables.size())
          state.tables.at(message->id) = std::move(message->fd);
        break;
      case Message::kLock: state.locks.push_back(std::move(message->fd)); break;
      case Message::kKept:
        state.kept.insert_or_assign({static_cast<fs::KeptKind>(message->kind), message->id},
                                    std::move(message->fd));
        break;
      case Message::kInit:
        state.init.resize(message->text.size());
        std::memcpy(state.init.data(), message->text.data(), message->text.size());
        break;
      case Message::kSettings: state.settings = std::move(message->fd); break;
      case Message::kStart:
        state.generation = static_cast<uint32_t>(message->id);
        state.can_resend = message->kind != 0;
        if (!state.connection) return make_error(Code::kProtocol, "a mount without a connection");
        return state;
      case Message::kRefused: return make_error(Code::kConfig, message->text);
      default: return make_error(Code::kProtocol, "an unexpected message about the mount");
    }
  }
}

}  // namespace shufflefs
