#include "fs/passthrough.h"

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>

#include <catch2/catch_test_macros.hpp>

// Without a kernel behind: what is decided when passthrough is off or refused, and that opens are
// counted. That it works is seen in tests/mount.
namespace shufflefs::fs {

TEST_CASE("switched off: every open is ordinary") {
  Metrics metrics;
  Passthrough passthrough(metrics, false);
  passthrough.attach(-1, true);
  fuse_file_info info{};
  info.keep_cache = 1;
  CHECK_FALSE(passthrough.open(5, -1, info));
  CHECK(info.backing_id == 0);
  CHECK(info.keep_cache == 0);
  CHECK(metrics.value("shufflefs_ordinary_opens_total") == 1);
  passthrough.close(5);
  CHECK(passthrough.open_inodes() == 0);
}

TEST_CASE("refused by the kernel: ordinary, counted by reason") {
  Metrics metrics;
  Passthrough passthrough(metrics, true);
  passthrough.attach(-1, true);  // the ioctl fails with EBADF
  fuse_file_info info{};
  CHECK_FALSE(passthrough.open(5, -1, info));
  CHECK(metrics.value("shufflefs_passthrough_refused_total", "other") == 1);
  // The second open follows the first: the kernel is not asked again while the inode is open.
  CHECK_FALSE(passthrough.open(5, -1, info));
  CHECK(metrics.value("shufflefs_passthrough_refused_total", "other") == 1);
  passthrough.close(5);
  passthrough.close(5);
  passthrough.close(5);
  CHECK_FALSE(passthrough.open(5, -1, info));
  CHECK(metrics.value("shufflefs_passthrough_refused_total", "other") == 2);
}

TEST_CASE("inodes are counted apart") {
  Metrics metrics;
  Passthrough passthrough(metrics, false);
  fuse_file_info info{};
  passthrough.open(5, -1, info);
  passthrough.open(6, -1, info);
  CHECK(passthrough.open_inodes() == 2);
  passthrough.close(5);
  CHECK(passthrough.open_inodes() == 1);
}

}  // namespace shufflefs::fs
