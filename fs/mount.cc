#include "fs/mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <sstream>
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
constexpr auto kLockTimeout = std::chrono::seconds(3);

// flock(2) has no timeout. errno says why not.
bool lock_within(int fd, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

constexpr std::size_t kMaxReadBytes = 1024 * 1024;
constexpr auto kProbeTime = std::chrono::seconds(3);

struct MountEntry {
  unsigned device_minor = 0;
  std::string type;
};

// mountinfo writes blanks and backslashes in paths as \040 and the like.
std::string unescape(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// What is mounted at `path` (the topmost, if several are).
std::optional<MountEntry> find_mount(const std::string& path) {
  std::ifstream table("/proc/self/mountinfo");
  std::optional<MountEntry> found;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point, field, type;
    fields >> id >> parent >> device >> root >> point;
    if (unescape(point) != path) continue;
    while (fields >> field && field != "-") {
    }
    fields >> type;
    found =
        MountEntry{static_cast<unsigned>(std::stoul(device.substr(device.find(':') + 1))), type};
  }
  return found;
}

// The errno of a stat of the mount point; nothing if there is no answer in time (a daemon that
// hangs).
std::optional<int> probe(const std::string& path) {
  auto answer = std::make_shared<std::promise<int>>();
  std::future<int> result = answer->get_future();
  std::thread([answer, path] {
    struct statx attr{};  // a plain stat may be answered from the kernel's memory of a dead daemon
    const int result =
        ::statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attr);
    answer->set_value(result == 0 ? 0 : errno);
  }).detach();
  if (result.wait_for(kProbeTime) != std::future_status::ready) return std::nullopt;
  return result.get();
}

Status clear_stale_mount(const std::string& path) {
  while (const std::optional<MountEntry> there = find_mount(path)) {
    if (!there->type.starts_with("fuse"))
      return ok();  // an ordinary volume: we mount over it if it is empty
    const std::optional<int> answer = probe(path);
    if (answer != ENOTCONN && answer != ECONNABORTED) {
      return make_error(
          Code::kMount,
          fmt::format("{} is a live mount of type {}{}: stop its daemon or choose another --mount",
                      path, there->type, answer ? "" : " that does not answer"));
    }
    if (::umount2(path.c_str(), MNT_DETACH) != 0)
      return errno_error("cannot detach the dead mount at " + path);
    log_warning("mount.stale_detached", {{"mount", path}, {"type", there->type}});
  }
  return ok();
}

Status prepare_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return errno_error("cannot make the mount directory " + path, error.value());
  const bool empty = std::filesystem::is_empty(path, error);
  if (error) return errno_error("cannot read the mount directory " + path, error.value());
  if (!empty) {
    return make_error(Code::kMount,
                      "the mount directory " + path +
                          " is not empty, and a mount would hide what is in it: empty it or choose "
                          "another --mount");
  }
  if (::chmod(path.c_str(), 0) != 0)
    return errno_error("cannot close the directory below the mount, " + path);
  return ok();
}

Result<Fd> open_device() {
  Fd fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (fd) return fd;
  const char* remedy = "";
  if (errno == ENOENT || errno == ENODEV) {
    remedy =
        " (load the kernel module: modprobe fuse; in a container: make /dev/fuse available to it)";
  } else if (errno == EPERM || errno == EACCES) {
    remedy = " (run as root; in Kubernetes: securityContext.privileged: true)";
  }
  Error error = errno_error("cannot open /dev/fuse");
  error.code = Code::kMount;
  error.message += remedy;
  return error;
}

// Without a mount of fusectl at /sys/fs/fuse/connections (containers) one that only we see.
Fd open_abort_file(unsigned number) {
  const std::string name = fmt::format("{}/abort", number);
  Fd file(::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (file) return file;
  const Fd context(::fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return Fd();
  const Fd root(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!root) return Fd();
  return Fd(::openat(root.get(), name.c_str(), O_WRONLY | O_CLOEXEC));
}

constexpr uint32_t kInit = 26;
constexpr uint32_t kHasSecondFlags = 1U << 30U;
// In the second flags:
constexpr uint32_t kHasPassthrough = 1U << (37U - 32U);
constexpr uint32_t kHasResend = 1U << (39U - 32U);

struct InitBody {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
};

}  // namespace

Result<InstanceLock> InstanceLock::take(const std::string& data_directory) {
  std::error_code made;
  std::filesystem::create_directories(data_directory, made);
  if (made) return errno_error("cannot make the data directory " + data_directory, made.value());
  const std::string path = data_directory + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) return errno_error("cannot open the lock file " + path);
  if (!lock_within(fd.get(), kLockTimeout)) {
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

Result<Mount> Mount::make(const std::string& directory) {
  const std::string path = std::filesystem::absolute(directory).lexically_normal().string();
  TRY(clear_stale_mount(path));
  TRY(prepare_directory(path));
  TRY_ASSIGN(Fd device, open_device());
  const std::string options = fmt::format(
      "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read={}",
      device.get(), kMaxReadBytes);
  if (::mount("shufflefs", path.c_str(), "fuse.shufflefs", 0, options.c_str()) != 0) {
    Error error = errno_error("cannot mount at " + path);
    error.code = Code::kMount;
    if (error.sys_errno == EPERM) {
      error.message +=
          " (needs root with CAP_SYS_ADMIN; in Kubernetes: securityContext.privileged: true)";
    }
    return error;
  }
  const std::optional<MountEntry> made = find_mount(path);
  return Mount(path, std::move(device), made ? made->device_minor : 0);
}

Mount::Mount(Mount&& other) noexcept
    : directory_(std::move(other.directory_)),
      connection_(std::move(other.connection_)),
      number_(other.number_),
      mounted_(std::exchange(other.mounted_, false)) {}

Mount::~Mount() { detach(); }

void Mount::detach() {
  if (!std::exchange(mounted_, false)) return;
  const std::optional<MountEntry> there = find_mount(directory_);
  if (!there || there->device_minor != number_) return;  // somebody else has taken it away
  if (::umount2(directory_.c_str(), MNT_DETACH) != 0) {
    log_error("mount.detach_failed", {{"mount", directory_}, {"errno", errno}});
  }
}

void Mount::abort_connection() const {
  const Fd file = open_abort_file(number_);
  if (!file || ::write(file.get(), "1", 1) != 1) {
    log_error("mount.abort_failed",
              {{"mount", directory_}, {"connection", number_}, {"errno", errno}});
  }
}

Result<std::vector<std::byte>> read_init(int connection, std::chrono::milliseconds timeout) {
  pollfd wanted{connection, POLLIN, 0};
  if (::poll(&wanted, 1, static_cast<int>(timeout.count())) != 1)
    return make_error(Code::kMount, "the kernel has not greeted the new mount in time");
  // The kernel refuses to fill a buffer that could not hold the largest write.
  std::vector<std::byte> message((1U << 20U) + 4096);
  const ssize_t got = ::read(connection, message.data(), message.size());
  if (got < 0) return errno_error("cannot read the kernel's greeting of the new mount");
  message.resize(static_cast<std::size_t>(got));
  RequestHeader header{};
  if (message.size() < sizeof header + 4 * sizeof(uint32_t))
    return make_error(Code::kMount, "the kernel's greeting is cut short");
  std::memcpy(&header, message.data(), sizeof header);
  if (header.opcode != kInit)
    return make_error(Code::kMount, "the kernel's first message is no greeting");
  return message;
}

namespace {

bool offers(const std::vector<std::byte>& init, uint32_t second_flag) {
  InitBody body{};
  if (init.size() < sizeof(RequestHeader) + sizeof body) return false;
  std::memcpy(&body, init.data() + sizeof(RequestHeader), sizeof body);
  return (body.flags & kHasSecondFlags) != 0 && (body.flags2 & second_flag) != 0;
}

}  // namespace

bool offers_resend(const std::vector<std::byte>& init) { return offers(init, kHasResend); }

bool offers_passthrough(const std::vector<std::byte>& init) {
  return offers(init, kHasPassthrough);
}

}  // namespace shufflefs::fs
