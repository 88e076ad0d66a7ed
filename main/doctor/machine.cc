// The machine: kernel, privileges, limits, mounts; the contract is in main/doctor/doctor.h.
#include <fmt/format.h>
#include <fuse_lowlevel.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "main/doctor/doctor.h"
#include "main/mounts.h"

namespace shufflefs::doctor {
namespace {

struct Version {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

// "6.18.44-fc-v595" and the like.
Version version_of(std::string_view release) {
  Version version;
  const char* const end = release.data() + release.size();
  const auto major = std::from_chars(release.data(), end, version.major);
  if (major.ec == std::errc() && major.ptr != end)
    std::from_chars(major.ptr + 1, end, version.minor);
  return version;
}

constexpr const char* kContainerRemedy =
    "run it as root; in Kubernetes: securityContext.privileged: true";

// "CapEff:\t000001ffffffffff" of /proc/self/status.
uint64_t effective_capabilities(const Host& host) {
  const std::string status = host.read("/proc/self/status");
  const std::size_t at = status.find("CapEff:");
  uint64_t set = 0;
  if (at == std::string::npos) return 0;
  const std::size_t digits = status.find_first_of("0123456789abcdef", at + 7);
  if (digits == std::string::npos) return 0;
  std::from_chars(status.data() + digits, status.data() + status.size(), set, 16);
  return set;
}

struct Limit {
  uint64_t bytes = 0;
  std::string where;
};

// The tightest limit of a process's control groups, version 2 or 1; nothing if there is none.
std::optional<Limit> cgroup_limit(const Host& host, const std::string& process) {
  std::optional<Limit> tightest;
  std::istringstream lines(host.read("/proc/" + process + "/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto parts = split(line, ':');
    if (parts.size() < 3) continue;
    const bool is_v2 = parts[1].empty();
    if (!is_v2 && parts[1] != "memory") continue;
    const std::string top = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const char* const file = is_v2 ? "/memory.max" : "/memory.limit_in_bytes";
    std::string group(parts[2]);
    while (true) {
      const std::string path = top + (group == "/" ? "" : group) + file;
      const auto bytes = parse_decimal(host.line(path));
      // Version 1 writes "no limit" as a number near 2^63.
      if (bytes && *bytes < (1ULL << 60U) && (!tightest || *bytes < tightest->bytes))
        tightest = Limit{*bytes, path};
      if (group.size() <= 1) break;
      group = group.substr(0, group.rfind('/'));
      if (group.empty()) group = "/";
    }
  }
  return tightest;
}

uint64_t total_memory(const Host& host) {
  std::istringstream words(host.read("/proc/meminfo"));
  std::string word;
  uint64_t kib = 0;
  while (words >> word) {
    if (word == "MemTotal:" && words >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace

void check_kernel(const Subject& subject, Report& report) {
  const Version version = version_of(subject.kernel);
  const std::string what = fmt::format("Linux {}, libfuse {}", subject.kernel, fuse_pkgversion());
  if (version >= Version{6, 9}) {
    report.ok("kernel", what + ": passthrough, and a mount that outlives its daemon");
  } else if (version >= Version{5, 11}) {
    report.warning(
        "kernel", what,
        "passthrough and the mount's life beyond its daemon need 6.9: without them the disks' "
        "directories are bound into the mount (local-mode), and the daemon's death makes it anew",
        "use a kernel of 6.9 or later where you can (Debian 13 has 6.12)");
  } else {
    report.problem("kernel", what, "it lacks what the filesystem needs of FUSE and openat2",
                   "use 6.9 or later");
  }
  if (version_of(fuse_pkgversion()) < Version{3, 18}) {
    report.warning("libfuse", fmt::format("libfuse {}", fuse_pkgversion()),
                   "before 3.18 a stop does not wake the threads that serve the mount",
                   "build with the libfuse that scripts/setup makes");
  }
  if (!subject.host.exists("/sys/module/fuse") &&
      subject.host.read("/proc/filesystems").find("\tfuse\n") == std::string::npos) {
    report.problem("fuse", "the kernel has no FUSE", "nothing can be mounted", "modprobe fuse");
  }
}

void check_fuse_device(const Subject& subject, Report& report) {
  if (!subject.host.exists("/dev/fuse")) {
    report.problem("fuse-device", "/dev/fuse is not there", "nothing can be mounted",
                   "modprobe fuse; in a container pass it on (--device /dev/fuse, or "
                   "securityContext.privileged: true)");
    return;
  }
  const int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    report.problem("fuse-device", errno_error("/dev/fuse cannot be opened").message,
                   "nothing can be mounted", kContainerRemedy);
    return;
  }
  ::close(fd);
  report.ok("fuse-device", "/dev/fuse can be opened");
}

void check_capabilities(const Subject& subject, Report& report) {
  struct Wanted {
    unsigned bit;
    const char* name;
    const char* why;
  };
  constexpr std::array kWanted = {
      Wanted{21, "CAP_SYS_ADMIN", "mounting and passthrough need it"},
      Wanted{2, "CAP_DAC_READ_SEARCH", "files are found again by their handles with it"},
      Wanted{1, "CAP_DAC_OVERRIDE", "files of all users are served"},
      Wanted{0, "CAP_CHOWN", "files made through the mount belong to who makes them"},
      Wanted{3, "CAP_FOWNER", "times and modes of others' files are set"},
      Wanted{7, "CAP_SETUID", "it works on behalf of who asks"},
      Wanted{6, "CAP_SETGID", "it works on behalf of who asks"},
  };
  const uint64_t set = effective_capabilities(subject.host);
  bool all = true;
  for (const Wanted& wanted : kWanted) {
    if ((set >> wanted.bit & 1U) != 0) continue;
    all = false;
    report.problem("capability", fmt::format("{} is missing", wanted.name), wanted.why,
                   kContainerRemedy);
  }
  if (all) report.ok("capability", "all that is needed are there");
  // "0 0 4294967295": the first namespace. A file handle or a passthrough of another is refused.
  std::istringstream map(subject.host.line("/proc/self/uid_map"));
  uint64_t inside = 0;
  uint64_t outside = 0;
  if (map >> inside >> outside && (inside != 0 || outside != 0)) {
    report.problem("user-namespace", "this is a user namespace of its own",
                   "passthrough and file handles are refused in it",
                   "run it in the host's user namespace (no rootless container, no hostUsers: "
                   "false)");
  }
}

void check_apparmor(const Subject& subject, Report& report) {
  if (subject.host.line("/sys/module/apparmor/parameters/enabled") != "Y") {
    report.ok("apparmor", "AppArmor is off");
    return;
  }
  std::string profile = subject.host.line("/proc/self/attr/apparmor/current");
  if (profile.empty()) profile = subject.host.line("/proc/self/attr/current");
  if (profile.empty() || profile == "unconfined") {
    report.ok("apparmor", "this process is unconfined");
    return;
  }
  report.warning("apparmor", fmt::format("this process is confined by {}", profile),
                 "a profile that does not allow mount refuses the mount with EACCES or EPERM",
                 "run it unconfined (in Kubernetes: appArmorProfile.type: Unconfined, or "
                 "privileged: true)");
}

void check_file_limit(const Subject& /*subject*/, Report& report) {
  constexpr rlim_t kWanted = 65'536;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const bool may_raise = ::geteuid() == 0;
  if (limit.rlim_max >= kWanted || may_raise) {
    report.ok("files", fmt::format("{} open files{}", limit.rlim_max,
                                   limit.rlim_max < kWanted ? ", and root may raise that" : ""));
    return;
  }
  report.warning("files", fmt::format("at most {} open files", limit.rlim_max),
                 "an open file on the mount costs the daemon a descriptor; beyond the limit opens "
                 "fail with EMFILE",
                 "ulimit -n 1048576, LimitNOFILE=1048576 in the unit");
}

void check_memory(const Subject& subject, Report& report) {
  constexpr uint64_t kOwn = 160ULL << 20U;  // program, threads, tables: measured, with room
  const Settings& settings = subject.settings;
  const bool has_spark = !settings.spark.listen.host.empty();
  const uint64_t needed =
      settings.memory_bytes + (has_spark ? settings.spark.memory_bytes : 0) + kOwn;
  const std::string sum = fmt::format(
      "memory {}{} and about {} of its own make {}", format_bytes(settings.memory_bytes),
      has_spark ? fmt::format(", spark.memory {}", format_bytes(settings.spark.memory_bytes)) : "",
      format_bytes(kOwn), format_bytes(needed));
  std::string process = "self";
  if (const auto daemon = listener_of(subject.host, settings.peer_listen);
      subject.daemon_runs && daemon)
    process = std::to_string(daemon->pid);
  const auto limit = cgroup_limit(subject.host, process);
  const uint64_t total = total_memory(subject.host);
  if (limit && needed > limit->bytes) {
    report.problem("memory",
                   fmt::format("{}; the limit of the control group is {} ({})", sum,
                               format_bytes(limit->bytes), limit->where),
                   "the kernel kills the daemon when it reaches the limit, in the middle of a job",
                   fmt::format("raise the limit to {} or more (resources.limits.memory), or lower "
                               "--memory",
                               format_bytes(needed + needed / 8)));
  } else if (total > 0 && needed > total / 2) {
    report.warning("memory", fmt::format("{}; the machine has {}", sum, format_bytes(total)),
                   "map outputs are pushed from the page cache, and executors need memory too",
                   "lower --memory");
  } else {
    report.ok(
        "memory",
        fmt::format(
            "{}; {}", sum,
            limit ? fmt::format("the limit of the control group is {}", format_bytes(limit->bytes))
                  : fmt::format("there is no limit, the machine has {}", format_bytes(total))));
  }
}

namespace {

constexpr auto kLookTimeout = std::chrono::seconds(3);

// A stat of the mount point, by a process that may hang.
Result<std::string> look_at(const std::string& point) {
  return in_child(
      [&]() -> Result<std::string> {
        struct statx attr{};  // a plain stat may be answered from memory
        if (::statx(AT_FDCWD, point.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attr) == 0)
          return std::string();
        return errno_error(point);
      },
      kLookTimeout);
}

// The mount that a path lies on: "shared:5" and the like are its propagation.
struct OnMount {
  std::string point;
  bool is_shared = false;
};
OnMount mount_of(const Host& host, const std::string& path) {
  OnMount found{"/", false};
  std::istringstream lines(host.read("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    const auto fields = split(line, ' ');
    if (fields.size() < 7) continue;
    const std::string point(fields[4]);
    const bool holds = point == "/" || path == point || path.starts_with(point + "/");
    if (!holds || point.size() < found.point.size()) continue;
    found.point = point;
    found.is_shared = false;
    for (std::size_t i = 6; i < fields.size() && fields[i] != "-"; ++i)
      found.is_shared = found.is_shared || fields[i].starts_with("shared:");
  }
  return found;
}

bool in_pod(const Host& host) {
  return host.exists("/var/run/secrets/kubernetes.io") ||
         process_of(host, 1).variable("KUBERNETES_SERVICE_HOST").has_value();
}

}  // namespace

void check_dead_mounts(const Subject& /*subject*/, Report& report) {
  std::size_t alive = 0;
  bool any_dead = false;
  for (const MountEntry& mount : read_mounts()) {
    if (mount.type != "fuse.shufflefs") continue;
    const auto looked = look_at(mount.point);
    if (looked) {
      ++alive;
      continue;
    }
    // Hidden below another mount, or unmounted just now.
    if (looked.error().code == Code::kNotFound) continue;
    any_dead = true;
    const bool hangs = looked.error().code == Code::kTimeout;
    report.problem(
        "mount", hangs ? fmt::format("{} does not answer", mount.point) : looked.error().message,
        hangs ? "its daemon hangs or is stopped; whoever touches the mount waits"
              : "its daemon's supervisor was killed; whoever uses it gets errors",
        hangs ? "look at the daemon's log; 'kill -9' of its worker starts another, the mount stays"
              : fmt::format("start the daemon again, it detaches the dead mount; or: umount -l {}",
                            mount.point));
  }
  if (!any_dead)
    report.ok("mount", alive == 0 ? std::string("no dead mount of ours")
                                  : fmt::format("{} of ours, all answer", alive));
}

void check_propagation(const Subject& subject, Report& report) {
  if (!subject.has_settings) return;
  const std::string& mount = subject.settings.mount;
  const std::string parent = mount.substr(0, std::max<std::size_t>(mount.rfind('/'), 1));
  const OnMount on = mount_of(subject.host, parent);
  if (on.is_shared) {
    report.ok("propagation",
              fmt::format("{} is shared: other mount namespaces see a mount below it", on.point));
  } else if (in_pod(subject.host)) {
    report.problem(
        "propagation", fmt::format("{} lies on {}, which is not shared, in a pod", mount, on.point),
        "the mount is seen in this pod alone, not by executors",
        "mount the volume with mountPropagation: Bidirectional here, and HostToContainer "
        "in the executors' pods");
  } else {
    report.note("propagation", fmt::format("{} is not shared", on.point),
                "containers that were started before the daemon do not see its mount; without "
                "containers it does not matter");
  }
}

}  // namespace shufflefs::doctor
