#include "merge/logical_clock.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <thread>

#include "support/faulty_io.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kStep = 1U << 20U;  // numbers for each millisecond

WallTime at(uint64_t ms) { return WallTime(std::chrono::milliseconds(ms)); }

struct World {
  testing::TempDir dir;
  testing::FaultyIo io;
  const std::string path = dir / "clock";
  void put(std::string_view text) {
    REQUIRE(replace_file(io, path, std::as_bytes(std::span(text))));
  }
};

}  // namespace

TEST_CASE_METHOD(World, "numbers only grow, and are above whatever was heard of") {
  LogicalClock clock(io, path);
  REQUIRE(clock.load(at(5000)));
  CHECK(clock.now() == 5000 * kStep);
  CHECK(clock.tick() == 5000 * kStep + 1);
  clock.observe(9000 * kStep);
  clock.observe(70);
  CHECK(clock.now() == 9000 * kStep);
  CHECK(clock.tick() == 9000 * kStep + 1);
}

TEST_CASE_METHOD(World, "what was covered is below the next life, whatever the wall clock says") {
  std::mt19937_64 random(2);
  uint64_t told = 0;
  for (int life = 0; life < 50; ++life) {
    LogicalClock clock(io, path);
    REQUIRE(clock.load(at(random() % 3 == 0 ? 1 : random() % (uint64_t{1} << 41U))));
    for (int i = 0; i < 20; ++i) {
      if (random() % 4 == 0)
        clock.observe(random() % 2 == 0 ? told + (random() >> 24U) : random() % 1000);
      const uint64_t number = clock.tick();
      CHECK(number > told);
      REQUIRE(clock.cover(number));
      told = number;
    }
  }
}

TEST_CASE_METHOD(World, "a number that cannot be covered is said so, and the disk is asked again") {
  LogicalClock clock(io, path);
  REQUIRE(clock.load(at(1)));
  clock.observe(uint64_t{1} << 50U);
  io.fail_renames = true;
  CHECK_FALSE(clock.cover(clock.tick()));
  CHECK_FALSE(clock.cover(clock.now()));
  CHECK(clock.cover(2));  // the file says enough
  io.fail_renames = false;
  REQUIRE(clock.cover(clock.now()));
  io.fail_renames = true;
  CHECK(clock.cover(clock.now() + 1000));  // covered with it
  LogicalClock next(io, path);
  CHECK_FALSE(next.load(at(1)));  // a life that cannot say where it ends does not begin
  io.fail_renames = false;
  REQUIRE(next.load(at(1)));
  CHECK(next.now() > uint64_t{1} << 50U);
}

TEST_CASE_METHOD(World,
                 "a missing file begins at the wall clock, one that cannot be read is refused") {
  LogicalClock clock(io, path);
  REQUIRE(clock.load(at(1'700'000'000'000)));
  CHECK(clock.now() == 1'700'000'000'000 * kStep);
  for (const char* rubbish :
       {"", "x", "12 13", "-1", "1.5", "99999999999999999999999", "7\n7\n", "\n"}) {
    INFO(rubbish);
    put(rubbish);
    LogicalClock broken(io, path);
    const Status loaded = broken.load(at(5));
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == Code::kCorruptData);
    CHECK(loaded.error().message.find(path) != std::string::npos);
  }
  put(std::string(100, '1'));
  LogicalClock too_long(io, path);
  CHECK_FALSE(too_long.load(at(5)));
  put("77");
  LogicalClock whole(io, path);
  REQUIRE(whole.load(at(5)));
  CHECK(whole.now() == 77);
}

TEST_CASE_METHOD(World, "the largest numbers do not begin anew at small ones") {
  put("18446744073709551000\n");
  {
    LogicalClock clock(io, path);
    REQUIRE(clock.load(at(5)));
    CHECK(clock.now() == 18446744073709551000ULL);
  }
  LogicalClock clock(io, path);
  REQUIRE(clock.load(at(5)));
  CHECK(clock.now() >= 18446744073709551000ULL);
  clock.observe(UINT64_MAX - 1);
  REQUIRE(clock.cover(clock.now()));
  LogicalClock next(io, path);
  REQUIRE(next.load(at(5)));
  CHECK(next.now() >= UINT64_MAX - 1);
}

TEST_CASE("a clock without a file is kept in memory") {
  testing::FaultyIo io;
  LogicalClock clock(io, "");
  REQUIRE(clock.load(at(9)));
  CHECK(clock.tick() == 9 * kStep + 1);
  CHECK(clock.cover(UINT64_MAX));
}

TEST_CASE("two nodes never give a drop the same number") {
  testing::FaultyIo io;
  LogicalClock here(io, "");
  LogicalClock there(io, "");
  uint64_t last = 0;
  for (uint64_t begin : {0ULL, 1ULL, 0xFFFFULL, 0x1'2345ULL, 0x5'0000ULL}) {
    here.observe(begin);
    there.observe(begin);
    const uint64_t number = here.tick_for_drop(NodeTag{0xABC'2345});
    CHECK(number > std::max(begin, last));
    CHECK(number != there.tick_for_drop(NodeTag{0xABC'2346}));
    CHECK(here.now() == number);
    last = number;
  }
}

TEST_CASE_METHOD(World, "threads get numbers of their own") {
  LogicalClock clock(io, path);
  REQUIRE(clock.load(at(1)));
  std::vector<std::vector<uint64_t>> got(4);
  std::vector<std::thread> threads;
  threads.reserve(got.size());
  for (auto& list : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        list.push_back(clock.tick());
        clock.observe(list.back() + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const auto& list : got) {
    CHECK(std::is_sorted(list.begin(), list.end()));
    all.insert(all.end(), list.begin(), list.end());
  }
  std::sort(all.begin(), all.end());
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

}  // namespace shufflefs::merge
