#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>

#include "fs/directory.h"
#include "fs/native_tables.h"

namespace shufflefs::fs {
namespace {

std::shared_ptr<OpenFile> open_file(uint64_t nodeid, int flags) {
  return std::make_shared<OpenFile>(nodeid, flags, nullptr,
                                    Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)));
}

}  // namespace

TEST_CASE("a handle is found by its key until it is removed") {
  HandleTable table;
  const auto file = open_file(10, O_RDONLY);
  const uint64_t key = table.add(file);
  CHECK(key != 0);
  CHECK(table.find(key) == file);
  CHECK(table.remove(key).file == file);
  CHECK(table.find(key) == nullptr);
  CHECK(table.remove(key).file == nullptr);
  CHECK(table.size() == 0);
}

TEST_CASE("keys are not used twice") {
  HandleTable table;
  const uint64_t first = table.add(open_file(1, O_RDONLY));
  table.remove(first);
  CHECK(table.add(open_file(1, O_RDONLY)) != first);
}

TEST_CASE("the last close of a writer is told, whoever else reads") {
  HandleTable table;
  const uint64_t reader = table.add(open_file(1, O_RDONLY));
  const uint64_t writer = table.add(open_file(1, O_WRONLY));
  const uint64_t other_writer = table.add(open_file(1, O_RDWR | O_APPEND));
  const uint64_t elsewhere = table.add(open_file(2, O_WRONLY));
  CHECK_FALSE(table.remove(writer).was_last_writer);
  CHECK(table.remove(other_writer).was_last_writer);
  CHECK_FALSE(table.remove(reader).was_last_writer);
  CHECK(table.remove(elsewhere).was_last_writer);
}

TEST_CASE("any handle of an inode serves for requests without one") {
  HandleTable table;
  CHECK(table.any_of(1) == nullptr);
  const uint64_t first = table.add(open_file(1, O_RDONLY));
  const uint64_t second = table.add(open_file(1, O_RDONLY));
  table.remove(first);
  REQUIRE(table.any_of(1) != nullptr);
  CHECK(table.any_of(1)->key == second);
  table.remove(second);
  CHECK(table.any_of(1) == nullptr);
}

}  // namespace shufflefs::fs
