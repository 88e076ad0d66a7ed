#include "base/recent_events.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("recent events: the last ones stay, numbered, with their fields cut") {
  RecentEvents events;
  events.add(LogLevel::kWarning, "peer.down",
             {{"peer", "node2"}, {"reason", std::string(2000, 'x')}});
  const auto first = events.last();
  REQUIRE(first.size() == 1);
  CHECK(first[0].number == 1);
  CHECK(first[0].code == "peer.down");
  CHECK(first[0].level == LogLevel::kWarning);
  CHECK(first[0].fields[0] == std::pair<std::string, std::string>("peer", "node2"));
  CHECK(first[0].fields[1].second.size() == RecentEvents::kMostBytes);
  for (std::size_t i = 0; i < RecentEvents::kMostEvents; ++i)
    events.add(LogLevel::kInfo, "a.b", {{"i", i}});
  CHECK(events.last().size() == RecentEvents::kMostEvents);
  CHECK(events.last().front().number == 2);
  CHECK(events.last(3).size() == 3);
  CHECK(events.last(3).back().number == RecentEvents::kMostEvents + 1);
}

TEST_CASE("recent events: what is logged is there, debug is not") {
  const auto before = recent_events().last().empty() ? 0 : recent_events().last().back().number;
  log_debug("test.quiet", {});
  log_info("test.recent", {{"a", 1}});
  const auto events = recent_events().last();
  REQUIRE_FALSE(events.empty());
  CHECK(events.back().number == before + 1);
  CHECK(events.back().code == "test.recent");
}

}  // namespace shufflefs
