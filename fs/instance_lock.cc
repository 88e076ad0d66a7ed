#include "fs/instance_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/log.h"

namespace shufflefs::fs {
namespace {

std::string read_holder(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string holder(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "unknown" : holder;
}

// A process that was killed lets go of its lock only when its last thread has ended.
constexpr auto kPatience = std::chrono::seconds(3);

// flock(2) has no timeout. errno says why not.
bool lock_within(int fd, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace

Result<InstanceLock> InstanceLock::take(const std::string& data_directory) {
  std::error_code made;
  std::filesystem::create_directories(data_directory, made);
  if (made) return errno_error("cannot make the data directory " + data_directory, made.value());
  const std::string path = data_directory + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) return errno_error("cannot open the lock file " + path);
  if (!lock_within(fd.get(), kPatience)) {
    if (errno != EWOULDBLOCK) return errno_error("cannot lock " + path);
    return make_error(
        Code::kMount,
        fmt::format("the data directory {} is in use by a running instance (pid {}): stop that one "
                    "first, or give this one its own --data and --mount",
                    data_directory, read_holder(fd.get())));
  }
  note_holder(fd.get());
  return InstanceLock(std::move(fd));
}

void InstanceLock::note_holder(int lock) {
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, pid.data(), pid.size(), 0) < 0)
    log_warning("lock.not_noted", {{"errno", errno}});
}

}  // namespace shufflefs::fs
