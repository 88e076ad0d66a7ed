#include "base/background_io.h"

#include <linux/ioprio.h>

#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("a thread reads in the background as long as it says so, and one may be in another") {
  const int before = BackgroundIo::priority();
  {
    const BackgroundIo outer;
    CHECK(IOPRIO_PRIO_CLASS(BackgroundIo::priority()) == IOPRIO_CLASS_IDLE);
    {
      const BackgroundIo inner;
    }
    CHECK(IOPRIO_PRIO_CLASS(BackgroundIo::priority()) == IOPRIO_CLASS_IDLE);
  }
  CHECK(IOPRIO_PRIO_CLASS(BackgroundIo::priority()) == IOPRIO_PRIO_CLASS(before));
}

}  // namespace shufflefs
