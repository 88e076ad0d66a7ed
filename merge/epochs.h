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
#include "merge/ids.h"

namespace shufflefs::merge {

class Epochs {
 public:
  // An empty path keeps them in memory only.
  Epochs(FileIo& io, std::string path) : io_(io), path_(std::move(path)) {}

  // Reads the file; lines that do not parse are skipped with a warning.
  void load();
  [[nodiscard]] uint64_t of(const ShuffleKey& shuffle) const;
  // For the whole application if no shuffle is given. Never lowers. The new epoch is in force even
  // if writing fails.
  void raise(const AppId& app, std::optional<ShuffleId> shuffle, uint64_t epoch);

 private:
  [[nodiscard]] std::string render() const;

  FileIo& io_;
  const std::string path_;
  mutable std::mutex mu_;
  // GUARDED_BY(mu_). The shuffle is absent for the whole application.
  std::map<std::pair<AppId, std::optional<ShuffleId>>, uint64_t> epochs_;
};

}  // namespace shufflefs::merge
