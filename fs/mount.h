// What the supervisor holds while workers come and go: the lock of the data directory, the mount,
// and the kernel's first message on it.
//
// Threads: one. Failure: an Error that says the remedy. Cost: start and end only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::fs {

// The lock that a live instance holds on its first data directory: <directory>/lock, by flock(2),
// so that it goes with the process however that ends. Whoever holds it may clean up what a dead
// instance left behind.
class InstanceLock {
 public:
  // Makes the directory if it is missing.
  // Waits a moment for a holder that is about to end.
  static Result<InstanceLock> take(const std::string& data_directory);
  // For handing it to another process: the lock is held until the last duplicate is closed.
  [[nodiscard]] Fd take_descriptor() { return std::move(fd_); }
  // Writes our pid into the lock file, for who finds it held.
  static void note_holder(int lock);

 private:
  explicit InstanceLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// Owns the mount, and the connection to the kernel until a session takes it.
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

// ---- FUSE_INIT, the kernel's first message on a new mount, which it sends once. Whoever holds the
// mount reads it before any worker starts, and every worker is fed it: the first one's answer
// counts, the kernel ignores the others. Layouts from <linux/fuse.h> (protocol 7.36 and later).

// struct fuse_in_header, in front of every request.
struct RequestHeader {
  uint32_t length;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint32_t rest;
};
static_assert(sizeof(RequestHeader) == 40);

// Reads it from the connection of a new mount.
[[nodiscard]] Result<std::vector<std::byte>> read_init(int connection,
                                                       std::chrono::milliseconds timeout);

// Whether this kernel sends requests again that a dead worker left unanswered (6.9 or later).
// Without it those calls would wait for ever.
[[nodiscard]] bool offers_resend(const std::vector<std::byte>& init);
// Whether it reads and writes the disks' files itself (6.9 or later).
[[nodiscard]] bool offers_passthrough(const std::vector<std::byte>& init);

}  // namespace shufflefs::fs
