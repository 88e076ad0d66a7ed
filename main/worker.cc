#include "main/worker.h"

#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "base/log.h"
#include "fs/saved_state.h"
#include "main/commands.h"
#include "main/config.h"
#include "main/node.h"
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

namespace {

// Called first thing: makes this process end when its supervisor does. False if that is gone
// already, or if there is no channel.
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

// What the mount would lose with our death goes to the supervisor. Threads: any. Failure: logged;
// the file in question is then lost should we die. Cost: one system call.
class KeptBySupervisor final : public fs::KeptFiles {
 public:
  explicit KeptBySupervisor(int channel) : channel_(channel) {}

  void keep(fs::KeptKind kind, uint64_t id, int fd) override {
    tell({.type = Message::kKeep, .kind = static_cast<uint32_t>(kind), .id = id, .fd = fd});
  }
  void drop(fs::KeptKind kind, uint64_t id) override {
    tell({.type = Message::kDrop, .kind = static_cast<uint32_t>(kind), .id = id});
  }

 private:
  void tell(const ToSend& message) const {
    if (const Status sent = send(channel_, message); !sent)
      log_limited(LogLevel::kWarning, "mount.not_kept", {{"reason", sent.error().message}});
  }
  const int channel_;
};

constexpr auto kStateTimeout = std::chrono::seconds(10);

int failed(const Error& error) {
  log_error("serve.failed", {{"code", to_string(error.code)}, {"reason", error.message}});
  return error.code == Code::kConfig ? kExitUsage : kExitFailure;
}

Result<Settings> settings_from(const Fd& file) {
  Machine machine = this_machine();
  machine.will_mount = false;
  const LoadedConfig config = load_config({}, fmt::format("/proc/self/fd/{}", file.get()), machine);
  if (config.mistakes.empty()) return config.settings;
  return make_error(Code::kConfig, describe(config.mistakes));
}

enum class Order { kStop, kHandOver, kUnmounted };

void tell_log_level(LogLevel level) {
  const Status told =
      send(kWorkerChannel, {.type = Message::kLogLevel, .kind = static_cast<uint32_t>(level)});
  if (!told) log_warning("serve.log_level_not_kept", {{"reason", told.error().message}});
}

// `unable` is written to when the mount ends by itself.
Order wait_for_order(const Fd& unable) {
  while (true) {
    std::array<pollfd, 2> wanted{pollfd{kWorkerChannel, POLLIN, 0},
                                 pollfd{unable.get(), POLLIN, 0}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if ((wanted[1].revents & POLLIN) != 0) return Order::kUnmounted;
    const auto message = receive(kWorkerChannel, std::chrono::milliseconds(0));
    if (!message) continue;
    // Without a supervisor nobody holds the mount: we are about to be killed (PR_SET_PDEATHSIG).
    if (!*message) ::_exit(kExitFailure);
    if ((*message)->type == Message::kStop) return Order::kStop;
    if ((*message)->type == Message::kHandOver) return Order::kHandOver;
  }
}

// The buffers of pushes come and go by megabytes. Left alone, glibc gives each back to the kernel,
// which then has to clear its pages anew: an eighth of the processor time of pushing and merging.
void keep_freed_memory(uint64_t budget_bytes) {
  constexpr uint64_t kMost = 64U << 20U;
  constexpr int kLeastMapped = 32 << 20;
  ::mallopt(M_TRIM_THRESHOLD, static_cast<int>(std::min(budget_bytes / 8, kMost)));
  ::mallopt(M_MMAP_THRESHOLD, kLeastMapped);
}

int serve(const Settings& settings, MountState state) {
  keep_freed_memory(settings.memory_bytes);
  log_set_level(settings.log_level);
  log_set_format(settings.log_format);
  KeptBySupervisor kept(kWorkerChannel);
  const Fd unable(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto node = Node::start(settings, std::move(state), kept,
                          {.on_unable = [&unable] { ::eventfd_write(unable.get(), 1); },
                           .on_log_level = tell_log_level});
  if (!node) return failed(node.error());
  log_info("serve.ready", {{"node", settings.node.str()},
                           {"mount", settings.mount},
                           {"peers", to_string(settings.peer_listen)},
                           {"http", to_string(settings.http_listen)}});
  if (const Status told = send(kWorkerChannel, {.type = Message::kReady}); !told)
    return failed(told.error());
  switch (wait_for_order(unable)) {
    case Order::kStop: (*node)->stop(); return kExitOk;
    case Order::kHandOver: (*node)->hand_over(); return kExitOk;
    case Order::kUnmounted: break;
  }
  (*node)->stop();
  return kExitUnmounted;
}

}  // namespace

int run_worker() {
  if (!become_worker()) {
    std::cerr << "shufflefs: 'worker' is how 'shufflefs serve' starts itself; run that\n";
    return kExitUsage;
  }
  // A signal to the worker alone means nothing: the supervisor decides, and SIGKILL is replaced.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  auto state = receive_state(kWorkerChannel, kStateTimeout);
  if (!state) return failed(state.error());
  const auto settings = settings_from(state->settings);
  if (!settings) return failed(settings.error());
  try {
    return serve(*settings, std::move(*state));
  } catch (const std::exception& error) {
    return failed(make_error(Code::kInternal, error.what()));
  }
}

}  // namespace shufflefs
