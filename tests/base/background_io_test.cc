#include <catch2/catch_test_macros.hpp>

#include "base/file_io.h"

namespace shufflefs {

TEST_CASE("a thread reads in the background as long as it says so, and one may be in another") {
  const int before = BackgroundIo::priority_class();
  {
    const BackgroundIo outer;
    CHECK(BackgroundIo::priority_class() == BackgroundIo::kIdleClass);
    {
      const BackgroundIo inner;
    }
    CHECK(BackgroundIo::priority_class() == BackgroundIo::kIdleClass);
  }
  CHECK(BackgroundIo::priority_class() == before);
}

}  // namespace shufflefs
