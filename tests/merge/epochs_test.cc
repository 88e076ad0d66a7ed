#include "merge/epochs.h"

#include <catch2/catch_test_macros.hpp>

#include "support/temp_dir.h"

namespace shufflefs::merge {

TEST_CASE(
    "the epoch of a shuffle is the later of its own and its application's drop, also after a "
    "restart") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  const ShuffleKey one = *parse_shuffle_key("app/1");
  const ShuffleKey two = *parse_shuffle_key("app/2");
  {
    Epochs epochs(*io, dir / "epochs");
    CHECK(epochs.of(one) == 0);
    CHECK(epochs.raise(one.app, one.shuffle, 50));
    CHECK(epochs.raise(one.app, one.shuffle, 40));
    CHECK(epochs.of(one) == 50);
    CHECK(epochs.of(two) == 0);
    CHECK(epochs.raise(one.app, std::nullopt, 70));
  }
  Epochs epochs(*io, dir / "epochs");
  REQUIRE(epochs.load());
  CHECK(epochs.of(one) == 70);
  CHECK(epochs.of(two) == 70);
}

TEST_CASE("lines that do not parse are skipped") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  const std::string text = "app 1 50\n../x 1 90\napp 2\napp x 3\napp 3 -1\n\n\napp * 9 9\nb * 7\n";
  REQUIRE(replace_file(*io, dir / "epochs", std::as_bytes(std::span(text))));
  Epochs epochs(*io, dir / "epochs");
  REQUIRE(epochs.load());
  CHECK(epochs.of(*parse_shuffle_key("app/1")) == 50);
  CHECK(epochs.of(*parse_shuffle_key("app/3")) == 0);
  CHECK(epochs.of(*parse_shuffle_key("b/0")) == 7);
}

}  // namespace shufflefs::merge
