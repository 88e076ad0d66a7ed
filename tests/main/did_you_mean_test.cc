#include "main/did_you_mean.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("did you mean: close names only") {
  const std::vector<std::string_view> names = {"memory", "members", "push.max-retries",
                                               "push.jitter"};
  CHECK(did_you_mean("memry", names) == "memory");
  CHECK(did_you_mean("max-retries", names) == "push.max-retries");
  CHECK(did_you_mean("push_max_retries", names) == "push.max-retries");
  CHECK(did_you_mean("pusch.jitter", names) == "push.jitter");
  CHECK_FALSE(did_you_mean("colour", names));
  CHECK_FALSE(did_you_mean("", names));
  CHECK_FALSE(did_you_mean(std::string(1000, 'm'), names));
}

}  // namespace shufflefs
