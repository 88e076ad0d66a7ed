// While it exists, new TempDirs lie in memory, if there is a place for them: for tests that make
// thousands of small files, or replace them, which ext4 takes for a wish to have them on the disk.
// What a busy disk makes of that would be all that they wait for.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace shufflefs::testing {

class InMemory {
 public:
  InMemory() {
    if (const char* place = std::getenv("TMPDIR")) before_ = place;
    if (std::filesystem::is_directory("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  ~InMemory() {
    if (before_.empty())
      ::unsetenv("TMPDIR");
    else
      ::setenv("TMPDIR", before_.c_str(), 1);
  }
  InMemory(const InMemory&) = delete;
  InMemory& operator=(const InMemory&) = delete;

 private:
  std::string before_;
};

}  // namespace shufflefs::testing
