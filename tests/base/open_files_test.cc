#include "base/open_files.h"

#include <catch2/catch_test_macros.hpp>

#include "support/temp_dir.h"

namespace shufflefs {

TEST_CASE("the files used last stay open, at most so many, and what is moved away is let go of") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  OpenFiles files(*io, 2);
  const auto a = files.open(dir / "a");
  REQUIRE(a);
  REQUIRE(files.open(dir / "b"));
  CHECK(*files.open(dir / "a") == *a);
  REQUIRE(files.open(dir / "c"));  // b was used least recently
  CHECK(files.count() == 2);
  CHECK(*files.open(dir / "a") == *a);
  // Who still holds one may go on using it.
  REQUIRE(files.open(dir / "d"));
  REQUIRE(files.open(dir / "e"));
  CHECK((*a)->write_at(0, std::as_bytes(std::span("text"))));
  CHECK_FALSE(*files.open(dir / "a") == *a);

  files.forget_below(dir.path());
  CHECK(files.count() == 0);
  REQUIRE(files.open(dir / "a"));
  files.forget(dir / "a");
  CHECK(files.count() == 0);
}

TEST_CASE("to read a file does not make it, and does not keep it") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  OpenFiles files(*io, 2);
  CHECK(files.open_to_read(dir / "a").error().code == Code::kNotFound);
  REQUIRE(files.open(dir / "a"));
  files.forget(dir / "a");
  CHECK(files.open_to_read(dir / "a"));
  CHECK(files.count() == 0);
}

}  // namespace shufflefs
