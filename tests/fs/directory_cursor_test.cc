#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/fd.h"
#include "fs/directory.h"
#include "support/temp_dir.h"

namespace shufflefs::fs {

TEST_CASE("a directory is read to its end, and again from any offset that was given") {
  const testing::TempDir directory;
  for (int i = 0; i < 2000; ++i) std::ofstream(directory.path() + "/file" + std::to_string(i));
  const Fd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DirectoryCursor cursor(fd.get());
  const MutexLock lock(cursor.mu);
  REQUIRE(cursor.seek(0).has_value());
  std::map<std::string, off_t> next_of;
  std::vector<std::string> order;
  while (true) {
    const auto entry = cursor.next();
    REQUIRE(entry.has_value());
    if (entry->name == nullptr) break;
    if (std::string_view(entry->name).starts_with("file")) CHECK(entry->type == S_IFREG);
    order.emplace_back(entry->name);
    next_of[entry->name] = entry->next_offset;
  }
  CHECK(order.size() == 2002);
  CHECK(next_of.size() == 2002);
  for (std::size_t i = 0; i + 1 < order.size(); i += 97) {
    REQUIRE(cursor.seek(next_of[order[i]]).has_value());
    const auto entry = cursor.next();
    REQUIRE(entry.has_value());
    CHECK(entry->name == order[i + 1]);
  }
}

TEST_CASE("going back to the start shows what was made meanwhile") {
  const testing::TempDir directory;
  const Fd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DirectoryCursor cursor(fd.get());
  const auto count = [&] {
    const MutexLock lock(cursor.mu);
    REQUIRE(cursor.seek(0).has_value());
    int names = 0;
    while (true) {
      const auto entry = cursor.next();
      REQUIRE(entry.has_value());
      if (entry->name == nullptr) return names;
      ++names;
    }
  };
  CHECK(count() == 2);
  std::ofstream(directory.path() + "/new");
  CHECK(count() == 3);
}

TEST_CASE("a descriptor that is no directory gives its errno") {
  const Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  DirectoryCursor cursor(fd.get());
  const MutexLock lock(cursor.mu);
  const auto entry = cursor.next();
  REQUIRE_FALSE(entry.has_value());
  CHECK(entry.error().value == ENOTDIR);
}

}  // namespace shufflefs::fs
