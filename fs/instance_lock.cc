#include "fs/instance_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

namespace shufflefs::fs {
namespace {

std::string read_holder(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string holder(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "unknown" : holder;
}

}  // namespace

Result<InstanceLock> InstanceLock::take(const std::string& data_directory) {
  std::error_code made;
  std::filesystem::create_directories(data_directory, made);
  if (made) return errno_error("cannot make the data directory " + data_directory, made.value());
  const std::string path = data_directory + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) return errno_error("cannot open the lock file " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error("cannot lock " + path);
    return make_error(
        Code::kMount,
        fmt::format("the data directory {} is in use by a running instance (pid {}): stop that one "
                    "first, or give this one its own --data and --mount",
                    data_directory, read_holder(fd.get())));
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return errno_error("cannot write " + path);
  }
  return InstanceLock(std::move(fd));
}

}  // namespace shufflefs::fs
