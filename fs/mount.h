// The mount itself: /dev/fuse, the mount point, mount(2) and its undoing. Kept apart from the
// session that serves it, because a supervisor holds this part while workers come and go.
//
// Threads: one. Ownership: the mount; the descriptor until a session takes it. Failure: an Error
// that says the remedy. Cost: start and end only.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::fs {

class Mount {
 public:
  // Mounts at `directory`, which is made if it is missing, must be empty, and is closed (mode 0)
  // below the mount, so that an executor without the mount gets an error instead of filling the
  // root disk. A mount that a dead instance left there is detached first; a live one is an error.
  // REQUIRES: the InstanceLock of the data directory is held, so no live instance of ours owns it.
  static Result<Mount> make(const std::string& directory);
  // A mount that another process has made: `number` as its connection_number().
  static Mount adopt(std::string directory, Fd connection, unsigned number) {
    return {std::move(directory), std::move(connection), number};
  }

  Mount(Mount&& other) noexcept;
  Mount& operator=(Mount&&) = delete;
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  ~Mount();

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] unsigned connection_number() const { return number_; }
  // The connection to the kernel. The mount lives as long as somebody has it open.
  [[nodiscard]] int connection() const { return connection_.get(); }
  [[nodiscard]] Fd take_connection() { return std::move(connection_); }

  // Takes the mount out of the tree, at once even when files are open; those stay connected.
  // Idempotent.
  void detach();
  // It is no longer ours to detach.
  void leave() { mounted_ = false; }
  // Ends the connection: every request in flight and every later one on open files fails (ENOTCONN,
  // ECONNABORTED).
  void abort_connection() const;

 private:
  Mount(std::string directory, Fd connection, unsigned connection_number)
      : directory_(std::move(directory)),
        connection_(std::move(connection)),
        number_(connection_number) {}

  std::string directory_;
  Fd connection_;
  unsigned number_ = 0;  // as in /sys/fs/fuse/connections
  bool mounted_ = true;
};

}  // namespace shufflefs::fs
