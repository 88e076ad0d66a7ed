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

}  // namespace shufflefs
