// The epoch of each shuffle's last drop, as far as this node knows (see NodeApi::drop). Kept in a
// small text file, so that a restarted node does not offer again what was dropped, nor refuse what
// came after.
//
// Threads: any. Cost: raise() rewrites the file; drops are rare. Memory: bounded, the lowest epochs
// are forgotten first (an epoch only matters while late pushes of the dropped shuffle may still
// come).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/file_io.h"
#include "base/runtime.h"
#include "merge/ids.h"

namespace shufflefs::merge {

class Epochs {
 public:
  // An empty path keeps them in memory only.
  Epochs(FileIo& io, std::string path) : io_(io), path_(std::move(path)) {}

  // Reads the file; lines that do not parse are skipped with a warning. Who does not know its
  // epochs must not run: the next one who does would tell it of a drop, and what it has written
  // since would go with it.
  [[nodiscard]] Status load();
  [[nodiscard]] uint64_t of(const ShuffleKey& shuffle) const;
  // An epoch for a drop that happens now: the time, but above every epoch that is known of the
  // application, as another node's clock may be ahead of ours.
  [[nodiscard]] uint64_t next(const AppId& app, WallTime now) const;
  // For the whole application if no shuffle is given. Never lowers. The new epoch is in force even
  // if writing fails (the error), but only until the next restart.
  Status raise(const AppId& app, std::optional<ShuffleId> shuffle, uint64_t epoch);

 private:
  [[nodiscard]] std::string render() const;

  FileIo& io_;
  const std::string path_;
  mutable std::mutex mu_;
  // GUARDED_BY(mu_). The shuffle is absent for the whole application.
  std::map<std::pair<AppId, std::optional<ShuffleId>>, uint64_t> epochs_;
  bool unwritten_ = false;  // GUARDED_BY(mu_); the file is behind: the next raise() tries again
};

}  // namespace shufflefs::merge
