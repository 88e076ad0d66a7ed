// Files that are kept open because they are used again soon: at most so many, the least recently
// used one is closed first (when its last user has let go of it). What is appended to them may stay
// in memory for a while (tail_file.h): read them through here.
//
// Threads: any. Failure: as FileIo::open. Cost: a lock and a look-up; descriptors, not memory.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "base/tail_file.h"

namespace shufflefs {

class OpenFiles {
 public:
  // `held_bytes`: what they hold in memory together, beyond a page each.
  OpenFiles(FileIo& io, std::size_t most, uint64_t held_bytes = 0)
      : io_(io), most_(most), held_(std::make_shared<HeldBytes>(held_bytes)) {}

  // Open for reading and writing, made if it is missing.
  [[nodiscard]] Result<std::shared_ptr<TailFile>> open(const std::string& path);
  // The same if it is open already, otherwise for reading only, and not kept.
  [[nodiscard]] Result<std::shared_ptr<File>> open_to_read(const std::string& path);
  // Writes what files hold that were not written to since the last call, or have held something for
  // long. What cannot be written is tried again by the next call; the errors say why.
  std::vector<Error> flush_idle();
  // Everything, and nothing is held from now on: for the end.
  void stop_holding();
  // Lets go of the file, or of all files below the directory, and of what they hold: they have been
  // moved or removed, or are about to be. REQUIRES: nobody is writing to them.
  void forget(const std::string& path);
  void forget_below(const std::string& directory);
  [[nodiscard]] std::size_t count() const;

 private:
  struct Kept {
    std::string path;
    std::shared_ptr<TailFile> file;
  };
  std::shared_ptr<TailFile> find(const std::string& path) REQUIRES(mu_);
  // Closes files until there are not too many.
  void close_some() EXCLUDES(mu_);
  [[nodiscard]] std::vector<std::shared_ptr<TailFile>> all() const EXCLUDES(mu_);

  FileIo& io_;
  const std::size_t most_;
  const std::shared_ptr<HeldBytes> held_;
  mutable Mutex mu_;
  bool holds_ GUARDED_BY(mu_) = true;
  std::list<Kept> files_ GUARDED_BY(mu_);  // the most recently used first
  std::unordered_map<std::string, std::list<Kept>::iterator> by_path_ GUARDED_BY(mu_);
};

}  // namespace shufflefs
