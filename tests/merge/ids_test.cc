#include "merge/ids.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace shufflefs::merge {

TEST_CASE("application ids that are safe are taken as they are") {
  for (const char* good :
       {"app-20261120162002-0000", "application_1_0001", "local-1", "a", "A.b_c-9"}) {
    INFO(good);
    REQUIRE(AppId::parse(good));
    CHECK(AppId::parse(good)->str() == good);
  }
}

TEST_CASE("application ids that could leave their directory are refused") {
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("../x"),
        std::string("-x"), std::string("a b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("\xC3\xA4"), std::string(201, 'a')}) {
    INFO(bad);
    REQUIRE_FALSE(AppId::parse(bad));
    CHECK(AppId::parse(bad).error().code == Code::kInvalidArgument);
  }
}

TEST_CASE("numbers are bounded as Spark's are") {
  CHECK(number(*parse_shuffle_id("2147483647")) == kMaxShuffleId);
  CHECK_FALSE(parse_shuffle_id("2147483648"));
  CHECK(number(*parse_map_id("9223372036854775807")) == kMaxMapId);
  CHECK_FALSE(parse_map_id("9223372036854775808"));
  CHECK_FALSE(parse_partition_id(std::to_string(kMaxPartitions)));
  for (const char* bad : {"", "-1", "01", "1.5", "x", "99999999999999999999"}) {
    INFO(bad);
    CHECK_FALSE(parse_partition_id(bad));
    CHECK_FALSE(parse_map_id(bad));
  }
}

TEST_CASE("a shuffle is named by application and number") {
  CHECK(to_string(*parse_shuffle_key("wc/7")) == "wc/7");
  for (const char* bad : {"wc", "wc/", "/7", "wc/x", "wc/7/8", "../7"}) {
    INFO(bad);
    CHECK_FALSE(parse_shuffle_key(bad));
  }
}

}  // namespace shufflefs::merge
