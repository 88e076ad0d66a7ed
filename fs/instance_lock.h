// The lock that a live instance holds on its first data directory: <directory>/lock, by flock(2),
// so that it goes with the process however that ends. Whoever holds it may clean up what a dead
// instance left behind.
//
// Threads: any. Ownership: the descriptor; closing it gives the lock up. Failure: an Error that
// names the holder's pid.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace shufflefs::fs {

class InstanceLock {
 public:
  // Makes the directory if it is missing.
  static Result<InstanceLock> take(const std::string& data_directory);

 private:
  explicit InstanceLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace shufflefs::fs
