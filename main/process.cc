#include "main/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "base/fd.h"
#include "base/parse.h"

extern "C" char** environ;  // NOLINT(readability-redundant-declaration)

namespace shufflefs {
namespace {

struct StatLine {
  char state = '?';
  uint64_t start_time = 0;
};

// Field 2 is the name in parentheses and may contain anything, so fields are counted from the last
// one.
std::optional<StatLine> read_stat(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const auto close = line.rfind(')');
  if (close == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(close + 1));
  StatLine stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field <= 21; ++field) fields >> skipped;
  fields >> stat.start_time;
  if (!fields) return std::nullopt;
  return stat;
}

}  // namespace

Result<ProcessId> identify(pid_t pid) {
  const auto stat = read_stat(pid);
  if (!stat || stat->state == 'Z' || stat->state == 'X') {
    return make_error(Code::kNotFound, fmt::format("there is no process {}", pid));
  }
  return ProcessId{pid, stat->start_time};
}

bool is_alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  // A child of ours that has ended is collected here; for others this fails and changes nothing.
  ::waitpid(process.pid, nullptr, WNOHANG);
  const auto now = identify(process.pid);
  return now && *now == process;
}

bool send_signal(const ProcessId& process, int signal) {
  if (process.pid <= 0) return false;
  // The descriptor holds the process, so that the pid cannot change hands between the look and the
  // signal.
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!handle || !is_alive(process)) return false;
  return ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0;
}

Result<ProcessId> start_detached(const std::vector<std::string>& arguments,
                                 const std::string& log_file) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));  // NOLINT
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0644);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);

  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, arguments.front().c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return errno_error(fmt::format("starting {} (log {})", arguments.front(), log_file), error);
  const auto stat =
      read_stat(pid);  // a zombie counts: it was started, and its log says why it ended
  return ProcessId{pid, stat ? stat->start_time : 0};
}

Result<std::string> own_program() {
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return errno_error("reading /proc/self/exe");
  std::string program(path.data(), static_cast<std::size_t>(length));
  // Replaced by a new build while we run: the link still leads to the old one.
  if (program.ends_with(" (deleted)")) return std::string("/proc/self/exe");
  return program;
}

std::vector<ProcessId> wait_until_gone(std::vector<ProcessId> processes,
                                       std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    std::erase_if(processes, [](const ProcessId& process) { return !is_alive(process); });
    const auto now = std::chrono::steady_clock::now();
    if (processes.empty() || now >= deadline) return processes;
    // The descriptor becomes readable when the process ends; looked at again twice a second anyway.
    const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, processes.front().pid, 0)));
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now) +
                      std::chrono::milliseconds(1);
    pollfd wanted{handle.get(), POLLIN, 0};
    ::poll(&wanted, handle ? 1 : 0,
           static_cast<int>(std::min(left, std::chrono::milliseconds(handle ? 500 : 10)).count()));
  }
}

}  // namespace shufflefs
