#include "main/mount_probe.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "base/fd.h"

namespace shufflefs {
namespace {

constexpr auto kDeadline = std::chrono::seconds(2);
constexpr auto kLook = std::chrono::milliseconds(5);
constexpr auto kFresh = std::chrono::milliseconds(500);

}  // namespace

int probe_mount(const std::string& mount) {
  struct stat attr{};
  if (::stat((mount + "/local").c_str(), &attr) != 0) return errno;
  const Fd file(::open((mount + "/.shufflefs/version").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  if (!file || ::read(file.get(), text.data(), text.size()) < 0) return errno;
  return 0;
}

Status MountProbe::start() {
  std::string program = "shufflefs";
  std::string command = "probe";
  std::string mount = mount_;
  const std::array<char*, 4> arguments{program.data(), command.data(), mount.data(), nullptr};
  const int failed =
      ::posix_spawn(&child_, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ);
  if (failed == 0) {
    started_ = runtime_.now();
    is_late_ = false;
    return ok();
  }
  child_ = 0;
  return errno_error("cannot start a process to look at the mount", failed);
}

std::optional<Status> MountProbe::ended() {
  int status = 0;
  if (::waitpid(child_, &status, WNOHANG) == 0) return std::nullopt;
  child_ = 0;
  if (!WIFEXITED(status))
    return make_error(Code::kMount, "the process that looked at the mount was killed");
  const int error = WEXITSTATUS(status);
  if (error == 0) return ok();
  return errno_error(fmt::format("a stat and a read through {} failed", mount_), error);
}

Task<Status> MountProbe::check() {
  if (child_ == 0) {
    if (last_ && runtime_.now() - started_ < kFresh) co_return *last_;
    CO_TRY(start());
  }
  while (runtime_.now() - started_ < kDeadline) {
    co_await sleep_for(runtime_, kLook);
    if (child_ == 0) co_return *last_;  // another check was there first
    if (auto end = ended()) {
      last_ = *end;
      co_return *end;
    }
  }
  if (!is_late_) ::kill(child_, SIGKILL);
  is_late_ = true;
  const auto waited =
      std::chrono::duration_cast<std::chrono::seconds>(runtime_.now() - started_).count();
  static_cast<void>(ended());  // reaps it, if the kill has reached it
  co_return make_error(
      Code::kTimeout,
      fmt::format("a stat and a read through {} have not come back for {} s: a disk "
                  "hangs, or the daemon is overloaded",
                  mount_, waited));
}

}  // namespace shufflefs
