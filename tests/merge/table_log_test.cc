#include "merge/table_log.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "support/faulty_io.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

TableLog::Name name(std::string_view app, std::optional<uint32_t> shuffle) {
  return {*AppId::parse(app),
          shuffle ? std::optional(static_cast<ShuffleId>(*shuffle)) : std::nullopt};
}

TableLog::Bytes bytes(std::string_view text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

using Records = std::map<TableLog::Name, std::vector<std::string>>;

struct World {
  testing::InMemory in_memory;
  testing::TempDir dir;
  testing::FaultyIo io;
  const std::string root = dir / "table";
  LogicalClock clock{io, dir / "clock"};

  Records load(TableLog& log) {
    Records found;
    REQUIRE(log.load([&](const TableLog::Name& of, std::span<const std::byte> record) {
      found[of].emplace_back(reinterpret_cast<const char*>(record.data()), record.size());
    }));
    return found;
  }
  // What the next process finds.
  Records load() {
    TableLog log(io, root, clock);
    return load(log);
  }
};

const auto kOne = name("app", 1);
const auto kTwo = name("app", 2);
const auto kApp = name("app", std::nullopt);

}  // namespace

TEST_CASE_METHOD(World, "records are found again, file by file and in order") {
  TableLog log(io, root, clock);
  CHECK(load(log).empty());
  log.append(kOne, bytes("a"), 1);
  log.append(kTwo, bytes("b"), 2);
  log.append(kApp, bytes("whole"), 3);
  log.append(kOne, bytes(std::string(100'000, 'c')), 4);
  CHECK(load().empty());  // appended is not written
  REQUIRE(log.flush());
  log.append(kOne, bytes("d"), 5);
  REQUIRE(log.flush());
  REQUIRE(log.flush());
  const Records expected{
      {kOne, {"a", std::string(100'000, 'c'), "d"}}, {kTwo, {"b"}}, {kApp, {"whole"}}};
  CHECK(load() == expected);
  CHECK(log.bytes(kOne) == io.stat(root + "/app/1")->size);
  CHECK(log.bytes(name("x", 1)) == 0);
  TableLog next(io, root, clock);
  CHECK(load(next) == expected);
  CHECK(next.bytes(kOne) == log.bytes(kOne));
  next.append(kOne, bytes("e"), 6);
  REQUIRE(next.flush());
  CHECK(load().at(kOne).back() == "e");
}

TEST_CASE_METHOD(World, "a number is covered by the clock before its record is written") {
  REQUIRE(clock.load(WallTime(std::chrono::milliseconds(1))));
  TableLog log(io, root, clock);
  const uint64_t number = uint64_t{1} << 40U;
  log.append(kOne, bytes("a"), number);
  io.fail_renames = true;  // of the clock's file
  CHECK_FALSE(log.flush());
  CHECK(load().empty());
  io.fail_renames = false;
  REQUIRE(log.flush());
  CHECK(load().at(kOne) == std::vector<std::string>{"a"});
  LogicalClock next(io, dir / "clock");
  REQUIRE(next.load(WallTime(std::chrono::milliseconds(1))));
  CHECK(next.tick() > number);
}

TEST_CASE_METHOD(World, "a torn end is cut off, wherever it is torn") {
  TableLog log(io, root, clock);
  log.append(kOne, bytes("first"), 1);
  REQUIRE(log.flush());
  const uint64_t whole = log.bytes(kOne);
  log.append(kOne, bytes("second"), 2);
  REQUIRE(log.flush());
  const auto all = *read_file(io, root + "/app/1", 1000);
  for (uint64_t size = 0; size < all.size(); ++size) {
    INFO(size);
    REQUIRE(replace_file(io, root + "/app/1", std::span(all).first(size)));
    TableLog torn(io, root, clock);
    const Records found = load(torn);
    CHECK(found == (size < whole ? Records{} : Records{{kOne, {"first"}}}));
    torn.append(kOne, bytes("3"), 3);
    REQUIRE(torn.flush());
    const auto now = load().at(kOne);
    CHECK(now.size() == (size < whole ? 1 : 2));
    CHECK(now.back() == "3");
  }
  for (std::size_t at = 0; at < all.size(); ++at) {
    INFO(at);
    auto wrong = all;
    wrong[at] ^= std::byte{0x10};
    REQUIRE(replace_file(io, root + "/app/1", wrong));
    const Records found = load();
    CHECK(found == (at < whole ? Records{} : Records{{kOne, {"first"}}}));
  }
}

TEST_CASE_METHOD(World, "what was cut off does not come back behind what is written in its place") {
  TableLog log(io, root, clock);
  for (const char* record : {"first", "wrong", "third", "forth"})
    log.append(kOne, bytes(record), 1);
  REQUIRE(log.flush());
  auto all = *read_file(io, root + "/app/1", 1000);
  all[all.size() / 4 + 9] ^= std::byte{1};  // in the second one
  REQUIRE(replace_file(io, root + "/app/1", all));
  TableLog next(io, root, clock);
  CHECK(load(next) == Records{{kOne, {"first"}}});
  next.append(kOne, bytes("again"), 1);  // as long as the wrong one
  REQUIRE(next.flush());
  CHECK(load() == Records{{kOne, {"first", "again"}}});
  // A hole of zeros, as a machine that loses power may leave, is no record.
  REQUIRE((*io.open(root + "/app/1", OpenMode::kWriteCreate))->truncate(all.size() + 64));
  CHECK(load() == Records{{kOne, {"first", "again"}}});
  TableLog last(io, root, clock);
  CHECK(load(last) == Records{{kOne, {"first", "again"}}});
  last.append(kOne, bytes("x"), 1);
  REQUIRE(last.flush());
  CHECK(load() == Records{{kOne, {"first", "again", "x"}}});
}

TEST_CASE_METHOD(World,
                 "what could not be written is written by the next flush, in order and once") {
  TableLog log(io, root, clock);
  log.append(kOne, bytes("a"), 1);
  REQUIRE(log.flush());
  io.fail_writes_below[root + "/app"] = EIO;
  log.append(kOne, bytes("b"), 2);
  log.append(kTwo, bytes("x"), 3);
  CHECK(log.flush().error().code == Code::kIo);
  log.append(kOne, bytes("c"), 4);
  CHECK_FALSE(log.flush());
  CHECK(load() == Records{{kOne, {"a"}}});
  io.fail_writes_below.clear();
  log.append(kOne, bytes("d"), 5);
  REQUIRE(log.flush());
  const Records expected{{kOne, {"a", "b", "c", "d"}}, {kTwo, {"x"}}};
  CHECK(load() == expected);
  // One file that fails does not bring back what another has written.
  io.fail_writes_below[root + "/b"] = EIO;
  log.append(kOne, bytes("e"), 6);
  log.append(name("b", 0), bytes("later"), 7);
  CHECK_FALSE(log.flush());
  io.fail_writes_below.clear();
  REQUIRE(log.flush());
  CHECK(load().at(kOne) == std::vector<std::string>{"a", "b", "c", "d", "e"});
  CHECK(load().at(name("b", 0)) == std::vector<std::string>{"later"});
}

TEST_CASE_METHOD(World, "a rewritten file has the new records, and goes on behind them") {
  TableLog log(io, root, clock);
  for (int i = 0; i < 100; ++i) log.append(kOne, bytes("long record"), 1);
  REQUIRE(log.flush());
  REQUIRE(log.rewrite(kOne, {bytes("x"), bytes("y")}));
  CHECK(log.bytes(kOne) == io.stat(root + "/app/1")->size);
  log.append(kOne, bytes("z"), 1);
  REQUIRE(log.flush());
  CHECK(load() == Records{{kOne, {"x", "y", "z"}}});
  io.fail_renames = true;
  CHECK_FALSE(log.rewrite(kOne, {}));
  io.fail_renames = false;
  log.append(kOne, bytes("w"), 1);
  REQUIRE(log.flush());
  CHECK(load() == Records{{kOne, {"x", "y", "z", "w"}}});
}

TEST_CASE_METHOD(World, "a removed file is gone with what was still to be written") {
  TableLog log(io, root, clock);
  log.append(kOne, bytes("a"), 1);
  log.append(kTwo, bytes("b"), 1);
  REQUIRE(log.flush());
  log.append(kOne, bytes("c"), 1);
  REQUIRE(log.remove(kOne));
  REQUIRE(log.remove(kOne));
  REQUIRE(log.remove(name("never", 1)));
  REQUIRE(log.flush());
  CHECK(load() == Records{{kTwo, {"b"}}});
  log.append(kOne, bytes("d"), 1);
  REQUIRE(log.flush());
  CHECK(load() == Records{{kOne, {"d"}}, {kTwo, {"b"}}});
  REQUIRE(log.remove(kOne));
  REQUIRE(log.remove(kTwo));
  CHECK_FALSE(io.stat(root + "/app"));  // nothing is left behind
}

TEST_CASE_METHOD(World, "what follows a removal that failed is behind what is still there") {
  TableLog log(io, root, clock);
  log.append(kOne, bytes("a"), 1);
  log.append(kOne, bytes("b"), 1);
  REQUIRE(log.flush());
  io.fail_removals = true;
  CHECK_FALSE(log.remove(kOne));
  io.fail_removals = false;
  log.append(kOne, bytes("c"), 1);
  REQUIRE(log.flush());
  CHECK(load() == Records{{kOne, {"a", "b", "c"}}});
  REQUIRE(log.remove(kOne));
  CHECK(load().empty());
}

TEST_CASE_METHOD(World, "files that are none of ours are left alone") {
  TableLog log(io, root, clock);
  log.append(kOne, bytes("a"), 1);
  REQUIRE(log.flush());
  const auto file = *read_file(io, root + "/app/1", 1000);
  for (const char* other : {"/app/01", "/app/x", "/app/1.tmp", "/-app", "/readme"})
    REQUIRE(replace_file(io, root + other, file));
  REQUIRE(io.make_directories(root + "/app/7"));
  REQUIRE(io.make_directories(root + "/.hidden"));
  REQUIRE(replace_file(io, root + "/.hidden/1", file));
  CHECK(load() == Records{{kOne, {"a"}}});
}

TEST_CASE_METHOD(World,
                 "several threads append and flush: every record is there once, in its order") {
  constexpr int kThreads = 4;
  constexpr int kRecords = 300;
  TableLog log(io, root, clock);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kRecords; ++i) {
        log.append(i % 2 == 0 ? kOne : kTwo, bytes(std::to_string(thread * kRecords + i)),
                   static_cast<uint64_t>(i));
        if (i % 7 == 0) (void)log.flush();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(log.flush());
  const Records found = load();
  for (const auto& [of, offset] : {std::pair(kOne, 0), std::pair(kTwo, 1)}) {
    CHECK(found.at(of).size() == kThreads * kRecords / 2);
    std::vector<int> last(kThreads, -1);
    for (const std::string& record : found.at(of)) {
      const int number = std::stoi(record);
      CHECK(number % kRecords % 2 == offset);
      CHECK(number % kRecords > last[static_cast<std::size_t>(number / kRecords)]);
      last[static_cast<std::size_t>(number / kRecords)] = number % kRecords;
    }
  }
}

}  // namespace shufflefs::merge
