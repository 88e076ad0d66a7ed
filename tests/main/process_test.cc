#include "main/process.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <fstream>
#include <sstream>

#include "main/temporary_directory.h"

namespace shufflefs {
namespace {

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

constexpr auto kPatience = std::chrono::seconds(20);

}  // namespace

TEST_CASE("process: a pid that belongs to somebody else now is not touched") {
  const TemporaryDirectory directory;
  const auto started = start_detached({"/bin/sleep", "60"}, directory.path("log"));
  REQUIRE(started.has_value());
  CHECK(is_alive(*started));
  ProcessId recycled = *started;
  recycled.start_time += 1;  // as if the pid had been given away and back
  CHECK_FALSE(is_alive(recycled));
  CHECK_FALSE(send_signal(recycled, SIGKILL));
  CHECK(is_alive(*started));

  CHECK(send_signal(*started, SIGTERM));
  CHECK(wait_until_gone({*started}, kPatience).empty());
  CHECK_FALSE(send_signal(*started, SIGTERM));
  CHECK_FALSE(identify(started->pid).has_value());
}

TEST_CASE("process: started in a session of its own, with its output in the log") {
  const TemporaryDirectory directory;
  const std::string log = directory.write("log", "before\n");
  const auto started = start_detached(
      {"/bin/sh", "-c", "echo out; echo err >&2; cut -d' ' -f6 /proc/self/stat; read line"}, log);
  REQUIRE(started.has_value());
  CHECK(wait_until_gone({*started}, kPatience).empty());
  CHECK(text_of(log) == "before\nout\nerr\n" + std::to_string(started->pid) + "\n");
}

TEST_CASE("process: what cannot be started is an error that names it") {
  const TemporaryDirectory directory;
  const auto started = start_detached({"/nonexistent/program"}, directory.path("log"));
  REQUIRE_FALSE(started.has_value());
  CHECK(started.error().message.find("/nonexistent/program") != std::string::npos);
}

TEST_CASE("process: ours is known, nobody is not") {
  const auto self = identify(::getpid());
  REQUIRE(self.has_value());
  CHECK(self->start_time > 0);
  CHECK(is_alive(*self));
  CHECK_FALSE(is_alive({}));
  CHECK(wait_until_gone({*self}, std::chrono::milliseconds(1)).size() == 1);
}

}  // namespace shufflefs
