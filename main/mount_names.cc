#include "main/mount_names.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <span>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/resolved_path.h"

namespace shufflefs {
namespace {

constexpr std::size_t kPathsAtOnce = 256;
constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(5);

void warn(const std::string& reason) {
  log_limited(LogLevel::kWarning, "mount.names_kept",
              {{"reason", reason}, {"consequence", "seen on the mount for another minute"}});
}

pid_t start_remover(std::span<const std::string> paths, int& error) {
  std::vector<std::string> words = {"shufflefs", "forget-names"};
  words.insert(words.end(), paths.begin(), paths.end());
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  const std::vector<char*> environment = {path.data(), nullptr};
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {0, 1, 2})
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = -1;
  error = ::posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, arguments.data(),
                        environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? pid : -1;
}

}  // namespace

void remove_names(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const ResolvedName name = resolve_parent(path);
    if (name.directory) ::unlinkat(name.directory.get(), name.name.c_str(), 0);
  }
}

void forget_names_on_mount(const std::vector<std::string>& paths) {
  for (std::size_t at = 0; at < paths.size(); at += kPathsAtOnce) {
    const auto some = std::span(paths).subspan(at, std::min(kPathsAtOnce, paths.size() - at));
    int error = 0;
    const pid_t pid = start_remover(some, error);
    if (pid < 0) return warn(errno_error("cannot start a process", error).message);
    const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd waits{handle.get(), POLLIN, 0};
    if (handle && ::poll(&waits, 1, static_cast<int>(kPatience.count())) == 0) {
      // It ends with the mount, if not before; nobody needs its result.
      return warn("it did not end: the mount does not answer");
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
  }
}

}  // namespace shufflefs
