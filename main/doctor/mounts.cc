// Mounts that are dead, and who will see a new one; the contract is in main/doctor/checks.h.
#include "main/mounts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <sstream>

#include "main/doctor/checks.h"

namespace shufflefs::doctor {
namespace {

constexpr auto kPatience = std::chrono::seconds(3);

// A stat of the mount point, by a process that may hang.
Result<std::string> look_at(const std::string& point) {
  return in_child(
      [&]() -> Result<std::string> {
        struct statx attr{};  // a plain stat may be answered from memory
        if (::statx(AT_FDCWD, point.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &attr) == 0)
          return std::string();
        return errno_error(point);
      },
      kPatience);
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

void check_stale_mounts(Report& report) {
  std::size_t alive = 0;
  bool any_dead = false;
  for (const MountEntry& mount : read_mounts()) {
    if (mount.type != "fuse.shufflefs") continue;
    const auto looked = look_at(mount.point);
    if (looked) {
      ++alive;
      continue;
    }
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
