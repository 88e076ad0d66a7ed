// Ending the development cluster; the contract is in main/dev_cluster.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "main/dev_cluster.h"
#include "main/mounts.h"

namespace shufflefs {
namespace {

namespace fs = std::filesystem;

Status stop_processes(const DevCluster& cluster, const Say& say) {
  std::vector<ProcessId> running;
  for (const ClusterNode& node : cluster.nodes) {
    if (!node.process || !send_signal(*node.process, SIGTERM)) continue;
    send_signal(*node.process, SIGCONT);  // a stopped process would not hear of it
    running.push_back(*node.process);
  }
  if (running.empty()) return ok();
  say(fmt::format("stopping {} daemon{}", running.size(), running.size() == 1 ? "" : "s"));
  std::vector<ProcessId> left = wait_until_gone(std::move(running), std::chrono::seconds(10));
  for (const ProcessId& process : left) {
    say(fmt::format("process {} did not end within 10 s of SIGTERM: killing it", process.pid));
    send_signal(process, SIGKILL);
  }
  left = wait_until_gone(std::move(left), std::chrono::seconds(5));
  if (left.empty()) return ok();
  return make_error(
      Code::kTimeout,
      fmt::format("process {} survived SIGKILL (it hangs in the kernel): see 'cat /proc/{}/stack'; "
                  "an aborted "
                  "FUSE connection frees it (echo 1 > /sys/fs/fuse/connections/*/abort)",
                  left.front().pid, left.front().pid));
}

Status unmount_everything(const DevCluster& cluster, const Say& say) {
  for (const ClusterNode& node : cluster.nodes) {
    for (const MountEntry& mount : mounts_below(node.mount())) {
      say(fmt::format("unmounting {}", mount.point));
      TRY(detach_mount(mount.point));
    }
    if (const auto left = mounts_below(node.directory); !left.empty()) {
      return make_error(
          Code::kMount,
          fmt::format("{} is still mounted below {}: unmount it yourself, then try again",
                      left.front().point, node.directory));
    }
  }
  return ok();
}

// Directories under a mount may have been made immutable so that nothing is written to them while
// it is missing.
void make_mutable(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  int flags = 0;
  if (!fd || ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_IMMUTABLE_FL) == 0)
    return;
  flags &= ~FS_IMMUTABLE_FL;
  ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags);
}

Status remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return make_error(Code::kIo, fmt::format("removing {}: {}", path, error.message()));
  return ok();
}

// Only what up has made: anything else in a node's directory, and so the directory, stays.
Status remove_node(const ClusterNode& node, bool keep) {
  make_mutable(node.mount());
  std::error_code ignored;
  fs::remove(node.mount(), ignored);
  if (!keep) {
    TRY(remove_tree(node.data()));
    TRY(remove_tree(node.log()));
  }
  fs::remove(node.directory, ignored);
  return ok();
}

// Adds the directories that look as up makes them and are not listed: of a larger cluster before,
// or where cluster.json is gone.
void add_from_directories(DevCluster& cluster) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cluster.directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_node_name(name)) continue;
    const bool listed = std::any_of(cluster.nodes.begin(), cluster.nodes.end(),
                                    [&](const ClusterNode& node) { return node.name == name; });
    ClusterNode node{name, "", cluster.directory + "/" + name, std::nullopt};
    const bool is_ours = fs::exists(node.log_file(), error) || !mounts_below(node.mount()).empty();
    if (!listed && is_ours) cluster.nodes.push_back(std::move(node));
  }
}

}  // namespace

Status stop_and_unmount(const DevCluster& cluster, const Say& say) {
  TRY(stop_processes(cluster, say));
  return unmount_everything(cluster, say);
}

Result<bool> cluster_down(const std::string& directory, bool keep, const Say& say) {
  std::error_code error;
  if (!fs::exists(directory, error)) {
    say(fmt::format("{} does not exist: nothing to do", directory));
    return false;
  }
  const std::string canonical = fs::canonical(directory, error).string();
  TRY_ASSIGN(const Fd lock, lock_cluster(canonical, false));
  TRY_ASSIGN(std::optional<DevCluster> cluster, load_cluster(canonical));
  const bool had_state = cluster.has_value();
  if (!cluster) cluster = DevCluster{canonical, {}};
  add_from_directories(*cluster);
  TRY(stop_and_unmount(*cluster, say));
  for (const ClusterNode& node : cluster->nodes) TRY(remove_node(node, keep));
  fs::remove(cluster->state_file(), error);
  fs::remove(cluster->state_file() + ".new", error);
  const bool removed = !keep && fs::is_empty(canonical, error) && fs::remove(canonical, error);
  const bool anything = had_state || !cluster->nodes.empty();
  if (!anything)
    say(fmt::format("no cluster in {}: nothing to do", canonical));
  else if (removed)
    say(fmt::format("removed {}", canonical));
  else if (keep)
    say(fmt::format("the cluster is down; data and logs stay in {}", canonical));
  else
    say(fmt::format("the cluster is down; {} stays, because other files are in it", canonical));
  return anything;
}

}  // namespace shufflefs
