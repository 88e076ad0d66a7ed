// The process that holds the mount. It opens /dev/fuse, mounts, starts a worker that does all the
// work, and starts the next one when that dies, however it dies: open files and waiting calls stay,
// because the kernel's connection is here. Nothing else is done here, so that nothing else can
// break it: no thread, no disk, no network.
//
// A worker that dies is replaced at once; one that cannot start, or that crashes as soon as it
// serves, with growing pauses, and after kMostFailures in a row (or kMostKills that were none of
// its own doing) the supervisor gives up: it detaches the mount and says so. SIGTERM and SIGINT
// stop the worker and then the mount, within ten seconds; a second signal does so at once. A new
// supervisor, perhaps of a newer version, takes the mount over through the control socket
// (control_socket.h).
//
// On a kernel without FUSE_NOTIFY_RESEND (before 6.9), or with keep-mount off, the mount cannot
// outlive a worker: it is then detached and made again, and calls under way end with an error.
//
// Threads: one, before any other exists. Ownership: the mount, until it is handed over.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <optional>

#include "base/fd.h"
#include "fs/mount.h"
#include "main/control_socket.h"
#include "main/settings.h"
#include "main/worker.h"
#include "main/worker_channel.h"

namespace shufflefs {

class Supervisor {
 public:
  explicit Supervisor(const Settings& settings);

  // Makes the mount. Returns 0 or the exit code; what is wrong has been logged.
  [[nodiscard]] int mount();
  // Takes it from a running supervisor instead; that one ends.
  [[nodiscard]] int take_over();
  // When another has taken the mount over, run() waits for SIGTERM: in a pod, a process that ends
  // is started again, and would take the mount back. REQUIRES: before run().
  void stay_after_handover() { stays_ = true; }
  // Serves until it is time to stop. Returns the exit code.
  [[nodiscard]] int run();

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int kMostFailures = 8;
  // Killed from outside before it served, in a row: by the OOM killer, most likely.
  static constexpr int kMostKills = 60;
  // A worker that lives longer has not failed at its start.
  static constexpr auto kSettled = std::chrono::seconds(2);
  static constexpr auto kStopPatience = std::chrono::milliseconds(9300);

  enum class Phase { kServing, kStopping, kHandingOver, kHandedOver };

  [[nodiscard]] Status lock_data();
  [[nodiscard]] Status make_mount();
  [[nodiscard]] Status make_settings_file();

  void start_worker();
  void worker_ended(const WorkerProcess::End& end);
  void worker_failed(const WorkerProcess::End& end);
  [[nodiscard]] bool gives_up(const WorkerProcess::End& end);
  void plan_restart();
  void begin_stop(const char* why);
  void end_worker_now(const char* why);
  void on_signal();
  void on_worker_message();
  void drain_worker_messages();
  void take_message(ChannelMessage message);
  void set_log_level(LogLevel level);
  void on_control();
  void finish_handover();
  void finish(int exit_code);
  [[nodiscard]] std::chrono::milliseconds until_next_event() const;
  [[nodiscard]] bool outlives_workers() const;

  Settings settings_;  // constant but for the log level
  Fd signals_;
  std::optional<fs::Mount> mount_;
  MountState state_;
  std::optional<ControlSocket> control_;
  std::optional<WorkerProcess> worker_;
  Fd successor_;  // a new supervisor that waits for the mount
  Phase phase_ = Phase::kServing;
  bool stays_ = false;
  bool channel_is_open_ = false;
  bool was_ever_ready_ = false;
  bool is_ready_ = false;
  int failures_ = 0;  // in a row
  int kills_at_start_ = 0;
  Clock::time_point worker_started_;
  Clock::time_point worker_ready_;
  std::optional<Clock::time_point> restart_at_;
  std::optional<Clock::time_point> deadline_;  // of stopping or handing over
  std::optional<int> exit_code_;
};

}  // namespace shufflefs
