#include "base/parse.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("a number has one spelling") {
  CHECK(parse_decimal("0") == 0U);
  CHECK(parse_decimal("42") == 42U);
  CHECK(parse_decimal("18446744073709551615") == UINT64_MAX);
  for (const char* bad : {"", "01", "+1", "-1", " 1", "1 ", "1x", "0x10", "18446744073709551616",
                          "99999999999999999999999"}) {
    INFO(bad);
    CHECK_FALSE(parse_decimal(bad));
  }
  CHECK_FALSE(parse_decimal("43", 42));
}

TEST_CASE("sizes take the usual units") {
  CHECK(*parse_bytes("512") == 512U);
  CHECK(*parse_bytes("2M") == 2U << 20U);
  CHECK(*parse_bytes("2MiB") == 2U << 20U);
  CHECK(*parse_bytes("2mb") == 2U << 20U);
  CHECK(*parse_bytes("1G") == 1U << 30U);
  for (const char* bad : {"", "M", "-1M", "1.5G", "1X", "1Mi b", "99999999999999T", "ib"}) {
    INFO(bad);
    CHECK_FALSE(parse_bytes(bad));
  }
}

TEST_CASE("durations need a unit that is known") {
  CHECK(parse_duration("250ms")->count() == 250);
  CHECK(parse_duration("2")->count() == 2000);
  CHECK(parse_duration("3m")->count() == 180'000);
  CHECK_FALSE(parse_duration("3d"));
  CHECK_FALSE(parse_duration("ms"));
  CHECK_FALSE(parse_duration("99999999999999h"));
}

TEST_CASE("addresses") {
  CHECK(*parse_host_port("127.0.0.1:7338") == HostPort{"127.0.0.1", 7338});
  CHECK(*parse_host_port("[::1]:80") == HostPort{"::1", 80});
  CHECK(*parse_host_port("name", 7338) == HostPort{"name", 7338});
  CHECK(to_string(HostPort{"::1", 80}) == "[::1]:80");
  for (const char* bad :
       {"", ":80", "a:", "a:0", "a:65536", "a:b", "::1:80", "[::1", "[::1]80", "[::1]", "[::1]:"}) {
    INFO(bad);
    CHECK_FALSE(parse_host_port(bad));
  }
}

TEST_CASE("sizes for people") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(1536) == "1.5 KiB");
  CHECK(format_bytes(64U << 20U) == "64 MiB");
}

}  // namespace shufflefs
