// The data directories' disks; the contract is in main/doctor/doctor.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/metrics.h"
#include "fs/disk_events.h"
#include "fs/mount.h"
#include "main/doctor/doctor.h"

namespace shufflefs::doctor {
namespace {

// From <linux/fuse.h> of kernel 6.9; Debian 12's headers are older.
struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  std::array<uint32_t, 6> unused;
};
static_assert(sizeof(InitOut) == 64);
struct ReplyHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr uint32_t kHasSecondFlags = 1U << 30U;
constexpr uint32_t kPassthrough = 1U << (37U - 32U);  // in the second flags

// A file on the disk of the directory, without a name.
Result<Fd> nameless_file(const std::string& directory) {
  Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return file;
  std::string pattern = directory + "/.shufflefs-doctor-XXXXXX";
  file = Fd(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file) return errno_error("cannot make a file in " + directory);
  ::unlink(pattern.c_str());
  return file;
}

Status answer_init(int connection) {
  TRY_ASSIGN(const std::vector<std::byte> init, fs::read_init(connection, std::chrono::seconds(5)));
  fs::RequestHeader request{};
  std::memcpy(&request, init.data(), sizeof request);
  struct {
    ReplyHeader header;
    InitOut body;
  } reply{};
  uint32_t offered_flags = 0;
  uint32_t offered_flags2 = 0;
  const std::byte* const body = init.data() + sizeof request;
  std::memcpy(&reply.body.minor, body + 4, sizeof reply.body.minor);
  std::memcpy(&offered_flags, body + 12, sizeof offered_flags);
  if (init.size() >= sizeof request + 20)
    std::memcpy(&offered_flags2, body + 16, sizeof offered_flags2);
  if ((offered_flags & kHasSecondFlags) == 0 || (offered_flags2 & kPassthrough) == 0) {
    return make_error(Code::kMount,
                      "the kernel does not offer it (6.9 or later, CONFIG_FUSE_PASSTHROUGH)");
  }
  reply.header = {sizeof reply, 0, request.unique};
  reply.body.major = 7;
  reply.body.max_readahead = 128 * 1024;
  reply.body.max_write = 128 * 1024;
  reply.body.flags = kHasSecondFlags;
  reply.body.flags2 = kPassthrough;
  reply.body.max_stack_depth = 1;
  if (::write(connection, &reply, sizeof reply) != sizeof reply)
    return errno_error("cannot answer the kernel");
  return ok();
}

}  // namespace

Status try_passthrough(const std::string& directory) {
  TRY_ASSIGN(const Fd file, nameless_file(directory));
  const Fd connection(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!connection) return errno_error("/dev/fuse cannot be opened");
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno_error("cannot make a mount namespace to try it in");
  const std::string options =
      fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", connection.get());
  // Over any directory: only this process sees it.
  if (::mount("shufflefs", "/mnt", "fuse.shufflefs", 0, options.c_str()) != 0)
    return errno_error("a mount for trying was refused");
  TRY(answer_init(connection.get()));
  BackingMap map{file.get(), 0, 0};
  if (::ioctl(connection.get(), kBackingOpen, &map) > 0) return ok();
  return errno_error("the kernel refuses it");
}

namespace {

namespace stdfs = std::filesystem;

// The directory itself, or the nearest one above it that is there.
std::string existing_directory(const std::string& path) {
  std::error_code error;
  stdfs::path existing = path;
  while (!stdfs::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  return existing.string();
}

struct FileSystem {
  int64_t magic;
  const char* name;
  const char* trouble;  // empty: fine
};

FileSystem kind_of(int64_t magic) {
  constexpr std::array kKnown = {
      FileSystem{0xEF53, "ext4", ""},
      FileSystem{0x58465342, "xfs", ""},
      FileSystem{0x9123683E, "btrfs", ""},
      FileSystem{0xF2F52010, "f2fs", ""},
      FileSystem{0x2FC12FC1, "zfs", ""},
      FileSystem{0x01021994, "tmpfs", "it is memory: shuffle data takes RAM and goes with it"},
      FileSystem{
          0x794C7630, "overlayfs",
          "it is a container's own layer: passthrough is refused on it, and every open inode "
          "costs a descriptor"},
      FileSystem{0x6969, "nfs", "it is over the network: every byte is written remotely"},
      FileSystem{0x65735546, "FUSE", "a filesystem on a filesystem: passthrough is refused on it"},
      FileSystem{0xFF534D42, "cifs", "it is over the network: every byte is written remotely"},
  };
  for (const FileSystem& known : kKnown) {
    if (known.magic == magic) return known;
  }
  return {magic, "another file system", ""};
}

// "a hard disk", "an SSD", or nothing where the kernel does not say.
std::string medium_of(const Host& host, dev_t device) {
  const std::string block = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
  std::string rotational = host.line(block + "/queue/rotational");
  // A partition's queue is that of its disk.
  if (rotational.empty()) rotational = host.line(block + "/../queue/rotational");
  if (rotational == "1") return ", a hard disk";
  if (rotational == "0") return ", an SSD";
  return "";
}

void check_space(const std::string& path, const struct statfs& info, Report& report) {
  const auto unit = static_cast<uint64_t>(info.f_bsize);
  const uint64_t free_bytes = info.f_bavail * unit;
  const uint64_t all = info.f_blocks * unit;
  const std::string what =
      fmt::format("{}: {} free of {}", path, format_bytes(free_bytes), format_bytes(all));
  if (free_bytes < (1ULL << 30U)) {
    report.problem("space", what, "map tasks fail with ENOSPC when it is full",
                   "free space, or give another --data");
  } else if (free_bytes < all / 20) {
    report.warning("space", what, "less than 5 % is left for map outputs and their merged copies",
                   "free space; docs/operations.md says how much a shuffle needs");
  } else {
    report.ok("space", what);
  }
}

Status try_local(const std::string& path, LocalMode mode) {
  if (mode == LocalMode::kBind) {
    Metrics unused;
    const auto opened = fs::DiskEvents(unused).open(path);
    return opened ? ok() : Status(opened.error());
  }
  const auto tried = in_child(
      [&]() -> Result<std::string> {
        TRY(try_passthrough(path));
        return std::string();
      },
      std::chrono::seconds(10));
  return tried ? ok() : Status(tried.error());
}

// By a real try: what the kernel offers depends on the disk's file system too.
void check_local_mode(const std::string& path, LocalMode wanted, Report& report) {
  constexpr const char* kThrough =
      "files of this disk are read and written through the daemon, at a tenth of its speed for "
      "small writes";
  if (wanted == LocalMode::kFuse) {
    report.warning("local-mode", "local-mode = fuse", kThrough, "leave local-mode = auto");
    return;
  }
  const Status passes =
      wanted == LocalMode::kBind ? ok() : try_local(path, LocalMode::kPassthrough);
  if (wanted != LocalMode::kBind && passes) {
    report.ok(
        "local-mode",
        fmt::format("{}: passthrough: tried, the kernel reads and writes the disk itself", path));
    return;
  }
  const Status tells =
      wanted == LocalMode::kPassthrough ? passes : try_local(path, LocalMode::kBind);
  if (tells) {
    report.ok("local-mode", fmt::format("{}: bind: tried, the kernel tells what happens on the "
                                        "disk; its directory is laid over the mount's",
                                        path));
    return;
  }
  const bool stacked = passes.has_error() && passes.error().sys_errno == ELOOP;
  report.warning("local-mode",
                 fmt::format("{}: {}", path, (passes ? tells : passes).error().message), kThrough,
                 stacked ? "put --data on a plain disk (in a container: a hostPath volume)"
                         : "run as root in the host's user namespace, kernel 5.9 or later, on a "
                           "plain file system such as ext4 or xfs, with local-mode = auto");
}

void check_disk(const Subject& subject, const std::string& data, Report& report) {
  const std::string path = existing_directory(data);
  struct statfs info{};
  struct stat attr{};
  if (::statfs(path.c_str(), &info) != 0 || ::stat(path.c_str(), &attr) != 0) {
    report.problem("disk", errno_error(path).message, "the daemon cannot start",
                   "repair the disk, or give another --data");
    return;
  }
  const FileSystem kind = kind_of(info.f_type);
  const std::string what =
      fmt::format("{}: {}{}", path, kind.name, medium_of(subject.host, attr.st_dev));
  if ((info.f_flags & ST_RDONLY) != 0) {
    report.problem("disk", what + ", mounted read-only",
                   "the kernel does that to a disk with errors; map tasks fail with EROFS",
                   "look at dmesg; take the disk out of --data until it is repaired");
    return;
  }
  if (kind.trouble[0] == '\0')
    report.ok("disk", what);
  else
    report.warning("disk", what, kind.trouble, "give a directory on a plain local disk");
  check_space(path, info, report);
  check_local_mode(path, subject.settings.local_mode, report);
}

}  // namespace

void check_disks(const Subject& subject, Report& report) {
  if (!subject.has_settings) {
    report.note("disk", "no data directory was given",
                "with --config FILE, or --data DIR --mount DIR --node NAME, disks are checked too");
    return;
  }
  std::map<dev_t, std::string> seen;
  for (const std::string& data : subject.settings.data) {
    check_disk(subject, data, report);
    struct stat attr{};
    if (::stat(existing_directory(data).c_str(), &attr) != 0) continue;
    const auto [other, is_new] = seen.try_emplace(attr.st_dev, data);
    if (!is_new) {
      report.warning("disk", fmt::format("{} and {} are on one disk", other->second, data),
                     "they compete for it", "give one --data for each disk");
    }
  }
}

}  // namespace shufflefs::doctor
