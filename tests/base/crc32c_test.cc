#include "base/crc32c.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <string_view>
#include <vector>

namespace shufflefs {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("crc32c has the published check value") {
  CHECK(crc32c(bytes_of("123456789")) == 0xE3069283U);
  CHECK(crc32c({}) == 0U);
}

TEST_CASE("crc32c continues") {
  CHECK(crc32c(crc32c(bytes_of("12345")), bytes_of("6789")) == 0xE3069283U);
}

TEST_CASE("crc32c of two pieces is put together from theirs") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> bytes(random() % 5000);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    const std::size_t cut = bytes.empty() ? 0 : random() % bytes.size();
    const auto all = std::span<const std::byte>(bytes);
    CHECK(crc32c_combine(crc32c(all.first(cut)), crc32c(all.subspan(cut)), bytes.size() - cut) ==
          crc32c(all));
  }
}

}  // namespace shufflefs
