// Whether what is done ends the process, as a DCHECK that does not hold: tried in a child.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace shufflefs::testing {

template <class Work>
bool dies(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // the test framework would report it
    ::close(STDERR_FILENO);
    work();
    ::_exit(0);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
         WTERMSIG(status) == SIGABRT;
}

}  // namespace shufflefs::testing
