#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <thread>
#include <vector>

#include "fs/request.h"

namespace shufflefs::fs {
namespace {

constexpr uint32_t kLookup = 1;
constexpr uint32_t kForget = 2;
constexpr uint32_t kOpen = 14;

uint64_t counted(Metrics& metrics, const char* operation) {
  return metrics.histograms("shufflefs_mount_request_seconds", "", "operation")
      .with(operation)
      .count();
}

}  // namespace

TEST_CASE("request times: by operation, from the reading to the answer, whichever thread answers") {
  Metrics metrics;
  RequestTimes times(metrics);
  times.begin(2, kLookup);
  times.begin(4, kOpen);
  times.end(4, 0);
  CHECK(counted(metrics, "open") == 1);
  CHECK(counted(metrics, "lookup") == 0);
  std::thread([&times] { times.end(2, -ENOENT); }).join();
  CHECK(counted(metrics, "lookup") == 1);
  // A number that nobody has begun, or that is answered twice, is not timed.
  times.end(2, 0);
  times.end(6, 0);
  CHECK(counted(metrics, "lookup") == 1);
  times.begin(8, 63);
  times.end(8, 0);
  times.begin(10, 4711);
  times.end(10, 0);
  CHECK(counted(metrics, "other") == 2);
}

TEST_CASE("request times: a request that comes again is its first number with the bit set") {
  Metrics metrics;
  RequestTimes times(metrics);
  const uint64_t again = 2 | (uint64_t{1} << 63U);
  times.begin(again, kLookup);
  times.end(again, 0);
  CHECK(counted(metrics, "lookup") == 1);
}

TEST_CASE("request times: what was forgotten has no answer") {
  Metrics metrics;
  RequestTimes times(metrics);
  times.begin(2, kForget);
  times.begin(4, 42);
  CHECK(metrics.value("shufflefs_mount_forgets_total") == 2);
}

TEST_CASE("request times: errors that say that something is wrong here are counted") {
  Metrics metrics;
  RequestTimes times(metrics);
  for (const int error : {EIO, EIO, ENOSPC, ENOENT, EEXIST}) {
    times.begin(2, kLookup);
    times.end(2, -error);
  }
  CHECK(metrics.value("shufflefs_mount_errors_total", "EIO") == 2);
  CHECK(metrics.value("shufflefs_mount_errors_total", "ENOSPC") == 1);
  CHECK(metrics.value("shufflefs_mount_errors_total") == 3);
}

TEST_CASE("request times: more under way than there is room for are lost, not mixed up") {
  Metrics metrics;
  RequestTimes times(metrics);
  constexpr uint64_t kRequests = 10'000;
  for (uint64_t i = 1; i <= kRequests; ++i) times.begin(2 * i, kLookup);
  for (uint64_t i = 1; i <= kRequests; ++i) times.end(2 * i, 0);
  CHECK(counted(metrics, "lookup") == 4096);
}

TEST_CASE("request times: many threads at once") {
  Metrics metrics;
  RequestTimes times(metrics);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&times, t] {
      for (uint64_t i = 0; i < 5000; ++i) {
        const uint64_t unique = 2 * (4 * i + t + 1);
        times.begin(unique, kLookup);
        times.end(unique, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Threads far apart may meet in a slot.
  CHECK(counted(metrics, "lookup") > 0);
  CHECK(counted(metrics, "lookup") <= 20'000);
}

}  // namespace shufflefs::fs
