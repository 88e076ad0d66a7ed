// fs::KeptFiles in a worker: what the mount would lose with our death goes to the supervisor.
//
// Threads: any. Failure: logged; the file in question is then lost should we die. Cost: one
// system call.
#pragma once

#include "base/log.h"
#include "fs/saved_state.h"
#include "main/worker_channel.h"

namespace shufflefs {

class KeptBySupervisor final : public fs::KeptFiles {
 public:
  explicit KeptBySupervisor(int channel) : channel_(channel) {}

  void keep(fs::KeptKind kind, uint64_t id, int fd) override {
    tell({.type = Message::kKeep, .kind = static_cast<uint32_t>(kind), .id = id, .fd = fd});
  }
  void drop(fs::KeptKind kind, uint64_t id) override {
    tell({.type = Message::kDrop, .kind = static_cast<uint32_t>(kind), .id = id});
  }

 private:
  void tell(const ToSend& message) const {
    if (const Status sent = send(channel_, message); !sent)
      log_limited(LogLevel::kWarning, "mount.not_kept", {{"reason", sent.error().message}});
  }
  const int channel_;
};

}  // namespace shufflefs
