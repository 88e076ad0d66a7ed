// In child processes: the watch changes how a whole process treats signals, and may end it.
#include "main/signal_watch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <functional>

namespace shufflefs {
namespace {

using std::chrono::milliseconds;

int exit_code_of(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

TEST_CASE("signal watch: the first signal asks, and a stop in time is clean") {
  CHECK(exit_code_of([] {
          SignalWatch watch("/nonexistent", std::chrono::seconds(30));
          ::kill(::getpid(), SIGTERM);
          return watch.wait() ? 42 : 0;
        }) == 42);
}

TEST_CASE("signal watch: the daemon may ask for its own end") {
  CHECK(exit_code_of([] {
          SignalWatch watch("/nonexistent", std::chrono::seconds(30));
          watch.request_stop();
          return watch.wait() ? 0 : 42;
        }) == 42);
}

TEST_CASE("signal watch: a stop that takes too long is ended by force") {
  CHECK(exit_code_of([] {
          SignalWatch watch("/nonexistent", milliseconds(50));
          ::kill(::getpid(), SIGINT);
          ::pause();
          return 42;
        }) == 1);
}

TEST_CASE("signal watch: a second signal ends it at once") {
  CHECK(exit_code_of([] {
          SignalWatch watch("/nonexistent", std::chrono::seconds(300));
          ::kill(::getpid(), SIGTERM);
          watch.wait();
          ::kill(::getpid(), SIGTERM);
          ::pause();
          return 42;
        }) == 1);
}

}  // namespace shufflefs
