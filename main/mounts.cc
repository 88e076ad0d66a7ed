#include "main/mounts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>

#include "base/fd.h"
#include "base/log.h"
#include "base/result.h"

namespace shufflefs {
namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::vector<MountEntry> read_mounts() {
  std::vector<MountEntry> entries;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // id parent major:minor root point options [tags...] - type source options
    std::istringstream words(line);
    std::string word;
    MountEntry entry;
    std::string device;
    words >> word >> word >> device >> entry.root >> entry.point;
    const auto colon = device.find(':');
    if (colon != std::string::npos) {
      entry.device = makedev(static_cast<unsigned>(std::stoul(device.substr(0, colon))),
                             static_cast<unsigned>(std::stoul(device.substr(colon + 1))));
    }
    entry.root = unescaped(entry.root);
    entry.point = unescaped(entry.point);
    while (words >> word && word != "-") {
    }
    if (words >> entry.type) entries.push_back(std::move(entry));
  }
  return entries;
}

std::string without_links_above(const std::string& point) {
  std::error_code ignored;
  const std::filesystem::path path(point);
  return (std::filesystem::weakly_canonical(path.parent_path(), ignored) / path.filename())
      .string();
}

std::optional<MountEntry> mounted_at(const std::string& path) {
  std::optional<MountEntry> found;
  for (MountEntry& entry : read_mounts()) {
    if (entry.point == path) found = std::move(entry);
  }
  return found;
}

std::vector<MountEntry> mounts_below(const std::string& directory) {
  std::vector<MountEntry> found;
  for (MountEntry& entry : read_mounts()) {
    if (entry.point == directory || entry.point.starts_with(directory + "/"))
      found.push_back(std::move(entry));
  }
  std::reverse(found.begin(), found.end());
  return found;
}

Status detach_mount(const std::string& point) {
  if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL ||
      errno == ENOENT)
    return ok();
  return errno_error(fmt::format("unmounting {}", point));
}

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

namespace {

constexpr std::size_t kPathsAtOnce = 256;
constexpr std::chrono::milliseconds kHelperTimeout = std::chrono::seconds(5);

void warn(const std::string& reason) {
  log_limited(LogLevel::kWarning, "mount.names_kept",
              {{"reason", reason}, {"consequence", "seen on the mount for another minute"}});
}

pid_t start_helper(const char* command, std::span<const std::string> paths, int& error) {
  std::vector<std::string> words = {"shufflefs", command};
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

namespace {

// Runs our own program with a hidden command, and waits. Its exit code; an error if it does not end
// in time: it ends with the mount, if not before.
Result<int> run_helper(const char* command, std::span<const std::string> paths) {
  int error = 0;
  const pid_t pid = start_helper(command, paths, error);
  if (pid < 0) return errno_error("cannot start a process", error);
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd waits{handle.get(), POLLIN, 0};
  if (handle && ::poll(&waits, 1, static_cast<int>(kHelperTimeout.count())) == 0)
    return make_error(Code::kTimeout, "it did not end: the mount does not answer");
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (!WIFEXITED(status)) return make_error(Code::kMount, "the process was killed");
  return WEXITSTATUS(status);
}

}  // namespace

void forget_names_on_mount(const std::vector<std::string>& paths) {
  for (std::size_t at = 0; at < paths.size(); at += kPathsAtOnce) {
    const auto some = std::span(paths).subspan(at, std::min(kPathsAtOnce, paths.size() - at));
    const auto code = run_helper("forget-names", some);
    if (!code) return warn(code.error().message);  // nobody needs its result
  }
}

namespace {

bool is_bound(const Binding& binding) {
  struct stat source{};
  const auto there = mounted_at(binding.point);
  return there && ::stat(binding.source.c_str(), &source) == 0 && there->device == source.st_dev &&
         !there->root.ends_with("//deleted");
}

}  // namespace

Status bind_directories(const std::vector<Binding>& bindings) {
  std::vector<std::string> missing;
  for (const Binding& binding : bindings) {
    if (is_bound(binding)) continue;
    missing.push_back(binding.source);
    missing.push_back(binding.point);
  }
  if (missing.empty()) return ok();
  TRY_ASSIGN(const int code, run_helper("bind-local", missing));
  if (code == 0) return ok();
  return errno_error(fmt::format("cannot bind {} over {}", missing[0], missing[1]), code);
}

int bind_each(const std::vector<std::string>& sources_and_points) {
  int failed = 0;
  for (std::size_t i = 0; i + 1 < sources_and_points.size(); i += 2) {
    const char* const source = sources_and_points[i].c_str();
    const char* const point = sources_and_points[i + 1].c_str();
    // Of a disk that has gone.
    while (::umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
    if (::mount(source, point, nullptr, MS_BIND, nullptr) != 0) {
      failed = errno;
      continue;
    }
    // As the passthrough has it; not before 5.12.
    mount_attr quiet{.attr_set = MOUNT_ATTR_NOATIME,
                     .attr_clr = MOUNT_ATTR__ATIME,
                     .propagation = 0,
                     .userns_fd = 0};
    ::mount_setattr(AT_FDCWD, point, 0, &quiet, sizeof quiet);
  }
  return failed;
}

}  // namespace shufflefs
