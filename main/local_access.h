// How programs reach the files below local/ (local-mode, docs/local-mode.md). In mode bind the
// disks' own directories lie over local/disk<i>, and the kernel's events say what happens in them.
//
// Threads: prepare(), start() and stop_events() of the owner; the rest any. Failure: what the
// kernel does not offer is logged (local.bind_refused) and programs go through the mount. A binding
// that has gone is made again within 5 s; meanwhile the mount's own directory is in its place, with
// the same files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/gate.h"
#include "fs/disk_events.h"
#include "main/mounts.h"
#include "main/settings.h"

namespace shufflefs {

class LocalAccess {
 public:
  // `kernel_passes`: it offers passthrough.
  LocalAccess(Runtime& runtime, Metrics& metrics, const Settings& settings, bool kernel_passes);

  // Before the disks are scanned, so that nothing happens unnoticed between. `roots`: the directory
  // of each disk that local/disk<i> shows.
  void prepare(const std::vector<std::string>& roots);
  // When the mount answers.
  void start(merge::CommitSink& sink);
  // Ends the looking after the bindings, which stay. On the reactor.
  [[nodiscard]] Task<void> close() { return gate_.close(); }
  // Nothing is told any more. Waits for a disk that is being asked.
  void stop_events() { events_.stop(); }

  // Never kAuto.
  [[nodiscard]] LocalMode mode() const { return mode_; }
  // Why this mode, in words.
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] bool has_unread_events() const { return events_.are_unread(); }

 private:
  [[nodiscard]] Task<void> keep();
  // Binds the disks of which the kernel tells. Blocks.
  void bind();

  Runtime& runtime_;
  const std::string mount_;
  const bool kernel_passes_;
  LocalMode mode_;
  std::string reason_;
  fs::DiskEvents events_;
  std::vector<std::string> roots_;
  merge::CommitSink* sink_ = nullptr;
  Gate gate_;
};

}  // namespace shufflefs
