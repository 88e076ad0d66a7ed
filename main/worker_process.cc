#include "main/worker_process.h"

#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "main/worker_channel.h"

namespace shufflefs {
namespace {

constexpr const char* kParentVariable = "SHUFFLEFS_SUPERVISOR";

// Signals as in a fresh process, a group of its own.
struct Attributes {
  Attributes() {
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_init(&value);
    ::posix_spawnattr_setsigmask(&value, &none);
    ::posix_spawnattr_setpgroup(&value, 0);
    ::posix_spawnattr_setflags(&value, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t value{};
};

struct Actions {
  explicit Actions(int channel) {
    ::posix_spawn_file_actions_init(&value);
    ::posix_spawn_file_actions_adddup2(&value, channel, kWorkerChannel);
  }
  ~Actions() { ::posix_spawn_file_actions_destroy(&value); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  posix_spawn_file_actions_t value{};
};

}  // namespace

Result<WorkerProcess> WorkerProcess::start(const std::string& label) {
  TRY_ASSIGN(auto ends, make_channel());
  const Attributes attributes;
  const Actions actions(ends.second.get());
  std::string program = "shufflefs";
  std::string command = "worker";
  std::string name = label;
  const std::array<char*, 4> arguments{program.data(), command.data(), name.data(), nullptr};
  ::setenv(kParentVariable, std::to_string(::getpid()).c_str(), 1);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, "/proc/self/exe", &actions.value, &attributes.value,
                                   arguments.data(), environ);
  if (failed != 0) return errno_error("cannot start a worker process", failed);
  return WorkerProcess(pid, std::move(ends.first));
}

std::optional<WorkerProcess::End> WorkerProcess::ended() const {
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  if (WIFSIGNALED(status)) return End{-1, WTERMSIG(status)};
  return End{WEXITSTATUS(status), 0};
}

void WorkerProcess::kill(int signal) const { ::kill(pid_, signal); }

bool become_worker() {
  const char* const parent = ::getenv(kParentVariable);
  if (parent == nullptr) return false;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (std::to_string(::getppid()) != parent) return false;
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(kWorkerChannel, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
         type == SOCK_SEQPACKET && ::fcntl(kWorkerChannel, F_SETFD, FD_CLOEXEC) == 0;
}

}  // namespace shufflefs
