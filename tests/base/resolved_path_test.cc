// Paths below a directory that a user changes under our hands.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "base/file_io.h"
#include "support/temp_dir.h"

namespace shufflefs {
namespace {

// user/dir is the user's, secret/ is not.
struct Tree {
  testing::TempDir base;
  const std::string root = std::filesystem::canonical(base.path()).string();
  Tree() {
    std::filesystem::create_directories(root + "/user/dir");
    std::filesystem::create_directories(root + "/secret");
    std::ofstream(root + "/user/dir/file") << "mine";
    std::ofstream(root + "/secret/file") << "secret";
  }
};

std::string read_all(File& file) {
  std::array<std::byte, 16> bytes{};
  const auto count = file.read_at(0, bytes);
  return {reinterpret_cast<const char*>(bytes.data()), count ? *count : 0};
}

TEST_CASE("links are refused in every component, by every call", "[resolved_path]") {
  const Tree tree;
  const auto io = make_posix_file_io();
  std::filesystem::create_symlink("../secret", tree.root + "/user/link");
  std::filesystem::create_symlink("../secret/file", tree.root + "/user/leaf");
  const std::string through = tree.root + "/user/link/file";
  const std::string leaf = tree.root + "/user/leaf";
  for (const std::string& path : {through, leaf}) {
    INFO(path);
    CHECK(io->open(path, OpenMode::kRead).error().sys_errno == ELOOP);
    CHECK(io->open(path, OpenMode::kWriteCreate).error().sys_errno == ELOOP);
    CHECK(io->set_mode(path, 0777).error().sys_errno == ELOOP);
    CHECK(io->set_owner(path, 1, 1).error().sys_errno == ELOOP);
    CHECK(io->list(path).error().sys_errno == ELOOP);
    CHECK_FALSE(io->extended_attribute(path, "user.x"));
  }
  CHECK(io->stat(through).error().sys_errno == ELOOP);
  CHECK_FALSE(io->stat(leaf)->is_regular);  // the link itself
  CHECK(io->rename(through, tree.root + "/user/taken").error().sys_errno == ELOOP);
  CHECK(io->rename(tree.root + "/user/dir/file", through).error().sys_errno == ELOOP);
  CHECK(io->remove_file(through).error().sys_errno == ELOOP);
  CHECK(io->remove_tree(through).error().sys_errno == ELOOP);
  CHECK(io->remove_tree(leaf));  // takes the link
  CHECK(std::filesystem::exists(tree.root + "/secret/file"));
  CHECK(io->stat(tree.root + "/user/dir/file")->size == 4);
}

TEST_CASE("names with dots and without slashes", "[resolved_path]") {
  const Tree tree;
  CHECK(open_resolved(tree.root + "/user//dir/file", O_RDONLY));
  CHECK_FALSE(open_resolved(tree.root + "/user/absent/file", O_RDONLY));
  CHECK(errno == ENOENT);
  CHECK_FALSE(resolve_parent("relative").directory);
  CHECK(resolve_parent("/file").directory);
}

// A thread swaps the user's directory for a link to the secret one and back, as fast as it can,
// while the file is opened and removed by its path.
TEST_CASE("a swap of links leads nowhere, 100000 times tried", "[resolved_path]") {
  constexpr int kTries = 100'000;
  const Tree tree;
  const auto io = make_posix_file_io();
  const std::string dir = tree.root + "/user/dir";
  const std::string link = tree.root + "/user/link";
  std::filesystem::create_symlink("../secret", link);
  std::atomic<bool> done{false};
  std::thread swapper([&] {
    while (!done.load())
      ::syscall(SYS_renameat2, AT_FDCWD, dir.c_str(), AT_FDCWD, link.c_str(), 2);  // exchange
  });
  int mine = 0;
  int refused = 0;
  int leaked = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto file = io->open(dir + "/file", OpenMode::kRead);
    if (!file)
      ++refused;
    else if (read_all(**file) == "mine")
      ++mine;
    else
      ++leaked;
    if (i % 16 == 0) std::ignore = io->remove_file(dir + "/file2");
  }
  done.store(true);
  swapper.join();
  CHECK(leaked == 0);
  CHECK(mine + refused == kTries);
  CHECK(std::filesystem::exists(tree.root + "/secret/file"));
}

}  // namespace
}  // namespace shufflefs
