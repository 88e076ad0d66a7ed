#include "main/mount_state.h"

#include <sys/mman.h>

#include <chrono>
#include <cstring>

#include "main/worker_channel.h"

namespace shufflefs {

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
