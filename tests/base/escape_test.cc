#include "base/escape.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

namespace shufflefs {

TEST_CASE("escape: text stays as it is") {
  for (const char* const text : {"", "plain", "two words", "caf\xC3\xA9", "\xE6\x96\x87",
                                 "\xF0\x9F\x98\x80", R"(a\xff "b")"}) {
    CHECK(printable(text) == text);
    CHECK(is_printable(text));
    CHECK(printable_lines(text) == text);
  }
}

TEST_CASE("escape: what moves a cursor or begins a line does not get out") {
  CHECK(printable("a\n\x1B[2J\x7F\t") == R"(a\x0a\x1b[2J\x7f\x09)");
  CHECK(printable(std::string_view("\0", 1)) == R"(\x00)");
  CHECK(printable("\xC2\x9B"
                  "1m") == R"(\xc2\x9b1m)");              // C1: CSI in one character
  CHECK(printable("\xE2\x80\xA8") == R"(\xe2\x80\xa8)");  // a line separator
  CHECK(printable("\xE2\x80\xAE") == R"(\xe2\x80\xae)");  // text from here on from right to left
  CHECK(printable("\xE2\x81\xA6") == R"(\xe2\x81\xa6)");
  CHECK(printable_lines("a\nb\r") == "a\nb\\x0d");
  CHECK_FALSE(is_printable("a\n"));
}

TEST_CASE("escape: what is no UTF-8 is shown byte by byte") {
  CHECK(printable("a\xFF"
                  "b") == R"(a\xffb)");
  CHECK(printable("\xC3") == R"(\xc3)");          // cut
  CHECK(printable("\xC0\xAF") == R"(\xc0\xaf)");  // overlong
  CHECK(printable("\xE0\x80\xAF") == R"(\xe0\x80\xaf)");
  CHECK(printable("\xED\xA0\x80") == R"(\xed\xa0\x80)");          // a surrogate
  CHECK(printable("\xF4\x90\x80\x80") == R"(\xf4\x90\x80\x80)");  // beyond U+10FFFF
  CHECK(printable("\xE6\x96x") == R"(\xe6\x96x)");
}

TEST_CASE("escape: JSON reads back, with the bytes that are no text as \\xNN") {
  const boost::json::value value = boost::json::object{
      {"\xFF",
       boost::json::array{"a\"\\\n\x1B[2J\xC2\x9B", "\xFF\xC3\xA9", 1, -1, 0.5, true, nullptr}},
      {"empty",
       boost::json::object{{"list", boost::json::array{}}, {"object", boost::json::object{}}}}};
  const std::string text = json_text(value);
  CHECK(text == R"({"\\xff":["a\"\\\u000a\u001b[2J\u009b",)"
                "\"\\\\xff\xC3\xA9\",1,-1,5E-1,true,null],"
                R"("empty":{"list":[],"object":{}}})");
  const boost::json::value back = boost::json::parse(text);
  CHECK(back.at("\\xff").at(0).as_string() == "a\"\\\n\x1B[2J\xC2\x9B");
  CHECK(back.at("\\xff").at(1).as_string() == "\\xff\xC3\xA9");
  CHECK(boost::json::parse(json_text(back)) == back);
}

TEST_CASE("escape: a text is cut between characters") {
  CHECK(text_prefix("abc", 5) == "abc");
  CHECK(text_prefix("abc", 2) == "ab");
  CHECK(text_prefix("a\xC3\xA9", 2) == "a");
  CHECK(text_prefix("a\xC3\xA9"
                    "b",
                    3) == "a\xC3\xA9");
  CHECK(text_prefix("\xF0\x9F\x98\x80", 3).empty());
  CHECK(text_prefix("\xF0\x9F\x98\x80", 0).empty());
  CHECK(text_prefix("a\xA9\xA9\xA9\xA9\xA9", 3).size() == 3);
}

}  // namespace shufflefs
