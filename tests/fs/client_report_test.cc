// What executors may write into .shufflefs/client-report.
#include "fs/client_report.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs::fs {

TEST_CASE("a report adds to the counters of its kinds") {
  Metrics metrics;
  ClientReport report(metrics);
  REQUIRE(report.take("merged 3 3000 unmerged 1 70\n"));
  REQUIRE(report.take("merged 1 1 corrupt 2 20\n"));
  CHECK(metrics.value("shufflefs_client_read_merged_blocks_total") == 4);
  CHECK(metrics.value("shufflefs_client_read_merged_bytes_total") == 3001);
  CHECK(metrics.value("shufflefs_client_fallback_unmerged_bytes_total") == 70);
  CHECK(metrics.value("shufflefs_client_fallback_corrupt_blocks_total") == 2);
}

TEST_CASE("of a text that is no report nothing counts") {
  Metrics metrics;
  ClientReport report(metrics);
  for (const std::string text :
       {"", "\n", "merged", "merged 1 1", "merged 1\n", "merged 1 1 unmerged\n", "merged 1 -1\n",
        "merged 1 1 other 1 1\n", "merged 1 99999999999999999999\n", "merged  1 1\n",
        "merged 1 1\n\n"}) {
    CAPTURE(text);
    CHECK_FALSE(report.take(text));
  }
  CHECK_FALSE(report.take(std::string(ClientReport::kMaxBytes, ' ') + "\n"));
  CHECK(metrics.value("shufflefs_client_read_merged_blocks_total") == 0);
}

}  // namespace shufflefs::fs
