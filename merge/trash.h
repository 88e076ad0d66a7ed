// Where dropped data goes: renamed into <data>/trash at once, deleted after a grace period, so that
// a drop is quick and a mistake can be undone by hand. What a former life left in the trash is
// deleted after the same grace.
//
// Threads: discard() from disk threads; run() is a task of the reactor. Failure: logged, tried
// again at the next start.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "base/runtime.h"

namespace shufflefs::merge {

class Trash {
 public:
  Trash(Runtime& runtime, FileIo& io, Duration grace) : runtime_(runtime), io_(io), grace_(grace) {}

  // A directory of a data disk to which things of that disk are moved. Picks up what is in it, but
  // not twice.
  [[nodiscard]] Status add_disk(const std::string& data_dir);
  // Moves `path`, which is below a disk that was added, into its trash. Fine if it is not there.
  [[nodiscard]] Status discard(const std::string& path);
  // Moves it there and deletes it at once. Blocks for as long as that takes.
  [[nodiscard]] Status discard_now(const std::string& path);
  // Deletes what is due, until cancelled.
  [[nodiscard]] Task<void> run();

 private:
  struct Item {
    std::string path;
    TimePoint due;
  };
  // The new place; nothing if `path` is not there.
  [[nodiscard]] Result<std::optional<std::string>> move_in(const std::string& path) EXCLUDES(mu_);
  [[nodiscard]] std::vector<std::string> take_due() EXCLUDES(mu_);

  Runtime& runtime_;
  FileIo& io_;
  const Duration grace_;
  std::atomic<uint64_t> next_{0};
  Mutex mu_;  // never held over I/O: the reactor takes it
  std::vector<std::string> data_dirs_ GUARDED_BY(mu_);
  std::vector<Item> items_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::merge
