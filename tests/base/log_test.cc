#include "base/log.h"

#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("an event is one line of key=value pairs") {
  CHECK(format_log_line("mount.ready", {{"node", "n1"}, {"files", 3}}) ==
        "mount.ready node=n1 files=3");
}

TEST_CASE("values cannot forge a line or a field") {
  CHECK(format_log_line("x", {{"name", "a b"}}) == R"(x name="a b")");
  CHECK(format_log_line("x", {{"name", "a\nerror fake=1"}}) == R"(x name="a\x0aerror fake=1")");
  CHECK(format_log_line("x", {{"name", R"(say "hi" \o/)"}}) == R"(x name="say \"hi\" \\o/")");
  CHECK(format_log_line("x", {{"name", ""}}) == R"(x name="")");
}

TEST_CASE("log: a line of text is UTF-8 whatever it is told") {
  CHECK(format_log_line("x", {{"name", "\xFF"}}) == R"(x name="\xff")");
  CHECK(format_log_line("x", {{"name",
                               "\xC2\x9B"
                               "2J"}}) == R"(x name="\xc2\x9b2J")");
  CHECK(format_log_line("x", {{"name", "\xC3\xA9"}}) == "x name=\xC3\xA9");
}

TEST_CASE("log: a line of JSON holds any bytes") {
  CHECK(format_log_json("a.b", {{"n", 3}, {"s", "x"}}) == R"("event":"a.b","n":"3","s":"x")");
  CHECK(format_log_json("x", {{"s", "a\"\\\n\x01"}}) == R"("event":"x","s":"a\"\\\u000a\u0001")");
  CHECK(format_log_json("x", {{"s", "\xC3\xA9"}}) == "\"event\":\"x\",\"s\":\"\xC3\xA9\"");
  // Not UTF-8: a lone byte, a cut sequence, an overlong slash, a surrogate.
  for (const char* bad : {"\xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80"}) {
    const std::string json = format_log_json("x", {{"s", bad}});
    CHECK(json.find("\\\\x") != std::string::npos);
    CHECK(json.find_first_of("\xFF\xC3\xC0\xED") == std::string::npos);
  }
}

TEST_CASE("log: levels and formats have one spelling each") {
  for (const char* text : {"debug", "info", "warning", "error"})
    CHECK(to_string(*parse_log_level(text)) == text);
  for (const char* text : {"text", "json"}) CHECK(to_string(*parse_log_format(text)) == text);
  CHECK_FALSE(parse_log_level("warn"));
  CHECK_FALSE(parse_log_format(""));
  CHECK_FALSE(parse_log_format("journald"));
}

TEST_CASE("log: ten of a code pass in ten seconds, and the others are told of") {
  LogLimiter limiter;
  const auto start = std::chrono::steady_clock::time_point() + std::chrono::hours(1);
  for (int i = 0; i < 10; ++i) CHECK(limiter.ask("disk.sick", start).passes);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(limiter.ask("disk.sick", start).passes);
  CHECK(limiter.ask("other", start).passes);
  CHECK_FALSE(limiter.take_untold(start + std::chrono::seconds(9)));

  SECTION("by the next one of the code") {
    const auto verdict = limiter.ask("disk.sick", start + std::chrono::seconds(10));
    CHECK(verdict.passes);
    CHECK(verdict.suppressed == 5);
    CHECK_FALSE(limiter.take_untold(start + std::chrono::seconds(30)));
  }
  SECTION("or, if none comes, with any other event") {
    const auto untold = limiter.take_untold(start + std::chrono::seconds(10));
    REQUIRE(untold);
    CHECK(untold->first == "disk.sick");
    CHECK(untold->second == 5);
    CHECK_FALSE(limiter.take_untold(start + std::chrono::seconds(10)));
    CHECK(limiter.ask("disk.sick", start + std::chrono::seconds(10)).suppressed == 0);
  }
}

}  // namespace shufflefs
