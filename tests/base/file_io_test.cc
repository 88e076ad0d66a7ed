#include "base/file_io.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "support/temp_dir.h"

namespace shufflefs {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("files are written and read at offsets") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  {
    const auto file = *io->open(dir / "a", OpenMode::kWriteCreate);
    REQUIRE(file->write_at(3, bytes_of("def")));
    REQUIRE(file->write_at(0, bytes_of("abc")));
    CHECK(*file->size() == 6U);
    REQUIRE(file->truncate(5));
  }
  const auto bytes = read_file(*io, dir / "a", 100);
  REQUIRE(bytes);
  CHECK(std::ranges::equal(*bytes, bytes_of("abcde")));
  CHECK(read_file(*io, dir / "a", 4).error().code == Code::kTooLarge);
}

TEST_CASE("a symbolic link in place of a file is refused") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(::symlink("/etc/passwd", (dir / "link").c_str()) == 0);
  const auto opened = io->open(dir / "link", OpenMode::kRead);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().sys_errno == ELOOP);
}

TEST_CASE("errors name the path and the reason") {
  const auto io = make_posix_file_io();
  const auto opened = io->open("/nonexistent/x", OpenMode::kRead);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Code::kNotFound);
  CHECK(opened.error().message == "cannot open /nonexistent/x: No such file or directory");
}

TEST_CASE("directories are listed, replaced files are whole, trees are removed") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(io->make_directories(dir / "x/y"));
  REQUIRE(io->make_directories(dir / "x/y"));
  REQUIRE(replace_file(*io, dir / "x/f", bytes_of("one")));
  REQUIRE(replace_file(*io, dir / "x/f", bytes_of("2")));
  CHECK(io->stat(dir / "x/f")->size == 1U);
  auto entries = *io->list(dir / "x");
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].name == "f");
  CHECK_FALSE(entries[0].is_directory);
  CHECK(entries[1].is_directory);
  REQUIRE(io->remove_tree(dir / "x"));
  REQUIRE(io->remove_tree(dir / "x"));
  CHECK_FALSE(io->stat(dir / "x"));
}

}  // namespace shufflefs
