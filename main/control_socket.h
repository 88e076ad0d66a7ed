// Where a running supervisor can be asked to give its mount away: <first data directory>/takeover,
// a socket that only root may use (mode 0600).
//
// A new supervisor says what it would run with; the old one compares what cannot change on a live
// mount, and refuses by name or hands everything over (MountState, worker_channel.h).
//
// Threads: one. Ownership: the socket's file, which is removed at the end. Failure: an Error; a
// node without the socket serves as well, but cannot be taken over.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "main/settings.h"

namespace shufflefs {

class ControlSocket {
 public:
  [[nodiscard]] static Result<ControlSocket> listen(const Settings& settings);
  ControlSocket(ControlSocket&& other) noexcept;
  ControlSocket& operator=(ControlSocket&&) = delete;
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  ~ControlSocket();

  [[nodiscard]] int fd() const { return listening_.get(); }

  struct Asked {
    Fd channel;
    std::string refused;  // not empty: why, as it has been told
  };
  // A new supervisor has connected. Hears what it wants; an Error if it says nothing sensible.
  [[nodiscard]] Result<Asked> accept(const Settings& running) const;
  // The file belongs to the successor now.
  void leave() { path_.clear(); }

 private:
  ControlSocket(std::string path, Fd listening)
      : path_(std::move(path)), listening_(std::move(listening)) {}
  std::string path_;
  Fd listening_;
};

// The other side: connects to the supervisor that runs with the first data directory of `settings`.
[[nodiscard]] Result<Fd> ask_for_takeover(const Settings& settings);

// Whether a supervisor listens there. It may be gone a moment later.
[[nodiscard]] bool can_take_over(const Settings& settings);

// What differs and cannot be changed while the mount lives: "mount, data"; empty if nothing. Both
// are requests as ask_for_takeover() sends them.
[[nodiscard]] std::string fixed_differences(const std::string& running, const std::string& wanted);
[[nodiscard]] std::string takeover_request(const Settings& settings);

}  // namespace shufflefs
