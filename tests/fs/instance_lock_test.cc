#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <optional>

#include "fs/mount.h"
#include "support/temp_dir.h"

namespace shufflefs::fs {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("one holder at a time, and the refusal names it") {
  const testing::TempDir directory;
  const std::string data = directory.path() + "/new/data";
  {
    const Result<InstanceLock> held = InstanceLock::take(data);
    REQUIRE(held);
    const Result<InstanceLock> second = InstanceLock::take(data);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Code::kMount);
    CHECK_THAT(second.error().message, ContainsSubstring("pid " + std::to_string(::getpid())));
  }
  CHECK(InstanceLock::take(data));
}

TEST_CASE("a data directory that cannot be made is an error that names it") {
  const Result<InstanceLock> lock = InstanceLock::take("/proc/nowhere/data");
  REQUIRE_FALSE(lock);
  CHECK_THAT(lock.error().message, ContainsSubstring("/proc/nowhere/data"));
}

}  // namespace shufflefs::fs
