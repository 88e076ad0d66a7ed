// Files that are kept open because they are used again soon: at most so many, the least recently
// used one is closed first (when its last user has let go of it).
//
// Threads: any. Failure: as FileIo::open. Cost: a lock and a look-up; descriptors, not memory.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/file_io.h"

namespace shufflefs {

class OpenFiles {
 public:
  OpenFiles(FileIo& io, std::size_t most) : io_(io), most_(most) {}

  // Open for reading and writing, made if it is missing.
  [[nodiscard]] Result<std::shared_ptr<File>> open(const std::string& path);
  // The same if it is open already, otherwise for reading only, and not kept.
  [[nodiscard]] Result<std::shared_ptr<File>> open_to_read(const std::string& path);
  // Lets go of the file, or of all files below the directory: they have been moved or removed.
  void forget(const std::string& path);
  void forget_below(const std::string& directory);
  [[nodiscard]] std::size_t count() const;

 private:
  struct Kept {
    std::string path;
    std::shared_ptr<File> file;
  };
  std::shared_ptr<File> find(const std::string& path);  // REQUIRES: mu_ held

  FileIo& io_;
  const std::size_t most_;
  mutable std::mutex mu_;
  std::list<Kept> files_;  // GUARDED_BY(mu_); the most recently used first
  std::unordered_map<std::string, std::list<Kept>::iterator> by_path_;  // GUARDED_BY(mu_)
};

}  // namespace shufflefs
