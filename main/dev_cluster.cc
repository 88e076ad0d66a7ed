#include "main/dev_cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <csignal>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/escape.h"
#include "base/parse.h"
#include "main/mounts.h"
#include "net/http_client.h"

namespace shufflefs {
namespace {

namespace stdfs = std::filesystem;
namespace json = boost::json;

json::object node_json(const ClusterNode& node) {
  json::object object;
  object["name"] = node.name;
  object["address"] = node.address;
  object["peer_port"] = kPeerPort;
  object["spark_port"] = kSparkPort;
  object["http_address"] = node.address;
  object["http_port"] = kHttpPort;
  object["mount"] = node.mount();
  object["data"] = node.data();
  object["pid"] = nullptr;
  object["start_time"] = nullptr;
  if (node.process) {
    object["pid"] = node.process->pid;
    object["start_time"] = node.process->start_time;
  }
  object["worker_pid"] = nullptr;
  return object;
}

ClusterNode node_from(const json::value& value, const std::string& directory) {
  const json::object& object = value.as_object();
  ClusterNode node;
  node.name = json::value_to<std::string>(object.at("name"));
  node.address = json::value_to<std::string>(object.at("address"));
  // Not read from the file: what down removes must lie in DIR whatever the file says.
  if (!is_node_name(node.name))
    throw std::invalid_argument(fmt::format("bad name '{}'", node.name));
  node.directory = fmt::format("{}/{}", directory, node.name);
  if (object.at("pid").is_number()) {
    node.process = ProcessId{json::value_to<pid_t>(object.at("pid")),
                             json::value_to<uint64_t>(object.at("start_time"))};
  }
  return node;
}

}  // namespace

bool is_node_name(std::string_view name) {
  return name.starts_with("node") && parse_decimal(name.substr(4), kMaxClusterNodes).has_value();
}

Result<DevCluster> plan_cluster(const std::string& directory, unsigned count,
                                std::string_view first_address) {
  boost::system::error_code error;
  const auto first = boost::asio::ip::make_address_v4(first_address, error);
  // Other addresses are not this machine's own.
  if (error || !first.is_loopback() || first.to_uint() + count >= 0x7fffffffU) {
    return make_error(
        Code::kInvalidArgument,
        fmt::format("--first-address {}: an address of 127.0.0.0/8 is needed, with {} to follow",
                    first_address, count - 1));
  }
  DevCluster cluster;
  cluster.directory = directory;
  for (unsigned i = 1; i <= count; ++i) {
    const std::string name = fmt::format("node{}", i);
    cluster.nodes.push_back({name, boost::asio::ip::address_v4(first.to_uint() + i - 1).to_string(),
                             fmt::format("{}/{}", directory, name), std::nullopt});
  }
  return cluster;
}

std::string members_of(const DevCluster& cluster) {
  std::string members;
  for (const ClusterNode& node : cluster.nodes) {
    members +=
        fmt::format("{}{}={}:{}", members.empty() ? "" : ",", node.name, node.address, kPeerPort);
  }
  return members;
}

json::value cluster_json(const DevCluster& cluster) {
  json::array nodes;
  for (const ClusterNode& node : cluster.nodes) nodes.push_back(node_json(node));
  json::object object;
  object["nodes"] = std::move(nodes);
  return object;
}

Result<std::optional<DevCluster>> load_cluster(const std::string& directory) {
  DevCluster cluster;
  cluster.directory = directory;
  std::ifstream file(cluster.state_file());
  if (!file) return std::optional<DevCluster>();
  std::ostringstream text;
  text << file.rdbuf();
  try {
    const json::value state = json::parse(text.str());
    for (const json::value& node : state.at("nodes").as_array())
      cluster.nodes.push_back(node_from(node, directory));
  } catch (const std::exception& error) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("{} cannot be understood ({}): remove it, then 'shufflefs "
                                  "cluster down --dir {}' works from what "
                                  "it finds; daemons that still run must be ended by hand",
                                  cluster.state_file(), error.what(), directory));
  }
  return std::optional<DevCluster>(std::move(cluster));
}

Status save_cluster(const DevCluster& cluster) {
  const std::string path = cluster.state_file();
  const std::string temporary = path + ".new";
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << json_text(cluster_json(cluster)) << "\n";
    if (!file.flush()) return errno_error(fmt::format("writing {}", temporary));
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return errno_error(fmt::format("writing {}", path));
  return ok();
}

Result<Fd> lock_cluster(const std::string& directory, bool make_it) {
  std::error_code error;
  if (make_it) stdfs::create_directories(directory, error);
  if (error) return make_error(Code::kIo, fmt::format("making {}: {}", directory, error.message()));
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(directory);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error(
        Code::kExists,
        fmt::format("another 'shufflefs cluster' command is working on {}: wait for it",
                    directory));
  }
  return fd;
}

Status check_node(const ClusterNode& node) {
  if (!node.process) return make_error(Code::kNotFound, "not started");
  if (!is_alive(*node.process)) {
    return make_error(Code::kNotFound, fmt::format("its process {} is gone; see {}",
                                                   node.process->pid, node.log_file()));
  }
  const auto answer = net::http_call(net::HttpMethod::kGet, {node.address, kHttpPort}, "/readyz",
                                     std::chrono::seconds(2));
  if (answer && answer->status == 200) return ok();
  const std::string why = answer
                              ? fmt::format("it answers {}", answer->status)
                              : fmt::format("it does not answer at {}:{}", node.address, kHttpPort);
  return make_error(
      answer ? Code::kRefused : Code::kTimeout,
      fmt::format("process {} runs, but {}; see {}", node.process->pid, why, node.log_file()));
}

std::string log_tail(const ClusterNode& node, std::size_t lines) {
  std::ifstream file(node.log_file());
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(std::move(line));
    if (last.size() > lines) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += "    " + line + "\n";
  return text;
}

namespace {

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
  stdfs::remove_all(path, error);
  if (error) return make_error(Code::kIo, fmt::format("removing {}: {}", path, error.message()));
  return ok();
}

// Only what up has made: anything else in a node's directory, and so the directory, stays.
Status remove_node(const ClusterNode& node, bool keep) {
  make_mutable(node.mount());
  std::error_code ignored;
  stdfs::remove(node.mount(), ignored);
  if (!keep) {
    TRY(remove_tree(node.data()));
    TRY(remove_tree(node.log()));
  }
  stdfs::remove(node.directory, ignored);
  return ok();
}

// Adds the directories that look as up makes them and are not listed: of a larger cluster before,
// or where cluster.json is gone.
void add_from_directories(DevCluster& cluster) {
  std::error_code error;
  for (const auto& entry : stdfs::directory_iterator(cluster.directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_node_name(name)) continue;
    const bool listed = std::any_of(cluster.nodes.begin(), cluster.nodes.end(),
                                    [&](const ClusterNode& node) { return node.name == name; });
    ClusterNode node{name, "", cluster.directory + "/" + name, std::nullopt};
    const bool is_ours =
        stdfs::exists(node.log_file(), error) || !mounts_below(node.mount()).empty();
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
  if (!stdfs::exists(directory, error)) {
    say(fmt::format("{} does not exist: nothing to do", directory));
    return false;
  }
  const std::string canonical = stdfs::canonical(directory, error).string();
  TRY_ASSIGN(const Fd lock, lock_cluster(canonical, false));
  TRY_ASSIGN(std::optional<DevCluster> cluster, load_cluster(canonical));
  const bool had_state = cluster.has_value();
  if (!cluster) cluster = DevCluster{canonical, {}};
  add_from_directories(*cluster);
  TRY(stop_and_unmount(*cluster, say));
  for (const ClusterNode& node : cluster->nodes) TRY(remove_node(node, keep));
  stdfs::remove(cluster->state_file(), error);
  stdfs::remove(cluster->state_file() + ".new", error);
  const bool removed =
      !keep && stdfs::is_empty(canonical, error) && stdfs::remove(canonical, error);
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

namespace {
using Clock = std::chrono::steady_clock;

// While it lives, Ctrl-C does not kill us between two daemons: it is noticed at the next pause.
class PatientInterrupts {
 public:
  PatientInterrupts() {
    ::sigemptyset(&wanted_);
    ::sigaddset(&wanted_, SIGINT);
    ::sigaddset(&wanted_, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &wanted_, &before_);
  }
  PatientInterrupts(const PatientInterrupts&) = delete;
  PatientInterrupts& operator=(const PatientInterrupts&) = delete;
  ~PatientInterrupts() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

  // True if it was ended by a signal.
  bool pause(std::chrono::milliseconds duration) {
    const timespec time{0, std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()};
    return ::sigtimedwait(&wanted_, nullptr, &time) > 0;
  }

 private:
  sigset_t wanted_{};
  sigset_t before_{};
};

// Whether a port of this machine is free; otherwise a daemon of another cluster could be taken for
// ours.
Status port_is_free(const std::string& address, uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error("opening a socket");
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &name.sin_addr);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0)
    return ok();  // NOLINT
  return make_error(
      Code::kExists,
      fmt::format("{}:{} cannot be used ({}): is a cluster of another directory running? Take it "
                  "down first; 'ss -tlnp' shows who holds the port",
                  address, port, errno_error("bind").message));
}

// What must hold before anything is made. An earlier cluster that crashed is cleared away here.
Status prepare(const DevCluster& plan, const UpOptions& options, const Say& say) {
  for (const std::string& name : options.leave_down) {
    const bool known = std::any_of(plan.nodes.begin(), plan.nodes.end(),
                                   [&](const ClusterNode& node) { return node.name == name; });
    if (!known)
      return make_error(Code::kInvalidArgument,
                        fmt::format("--leave-down {}: there is no such node among node1 to node{}",
                                    name, plan.nodes.size()));
  }
  TRY_ASSIGN(const std::optional<DevCluster> earlier, load_cluster(plan.directory));
  if (earlier) {
    const auto started = std::count_if(earlier->nodes.begin(), earlier->nodes.end(),
                                       [](const auto& node) { return node.process.has_value(); });
    const auto alive =
        std::count_if(earlier->nodes.begin(), earlier->nodes.end(),
                      [](const auto& node) { return node.process && is_alive(*node.process); });
    if (alive > 0 && alive == started) {
      return make_error(Code::kExists,
                        fmt::format("a cluster of {} nodes is running in {}: use it ('shufflefs "
                                    "cluster status --dir {}') "
                                    "or end it first ('shufflefs cluster down --dir {}')",
                                    alive, plan.directory, plan.directory, plan.directory));
    }
    say(
        fmt::format("an earlier cluster was not taken down ({} of {} daemons still run): clearing "
                    "up, its data stays",
                    alive, started));
    TRY(stop_and_unmount(*earlier, say));
  }
  TRY(stop_and_unmount(plan, say));
  for (const ClusterNode& node : plan.nodes) {
    TRY(port_is_free(node.address, kPeerPort));
    TRY(port_is_free(node.address, kSparkPort));
    TRY(port_is_free(node.address, kHttpPort));
  }
  return ok();
}

Status start_node(ClusterNode& node, const DevCluster& cluster, const UpOptions& options,
                  const std::string& program) {
  for (const std::string& directory : {node.mount(), node.data(), node.log()}) {
    std::error_code error;
    stdfs::create_directories(directory, error);
    if (error)
      return make_error(Code::kIo, fmt::format("making {}: {}", directory, error.message()));
  }
  std::vector<std::string> arguments = {
      program,          "serve",
      "--node",         node.name,
      "--mount",        node.mount(),
      "--data",         node.data(),
      "--peer-listen",  fmt::format("{}:{}", node.address, kPeerPort),
      "--http-listen",  fmt::format("{}:{}", node.address, kHttpPort),
      "--spark-listen", fmt::format("{}:{}", node.address, kSparkPort),
      "--members",      members_of(cluster)};
  arguments.insert(arguments.end(), options.extra_flags.begin(), options.extra_flags.end());
  TRY_ASSIGN(node.process, start_detached(arguments, node.log_file()));
  return ok();
}

Status failed(const ClusterNode& node, const std::string& reason) {
  return make_error(Code::kTimeout,
                    fmt::format("{} did not come up: {}\n  The end of its log ({}):\n{}", node.name,
                                reason, node.log_file(), log_tail(node, 15)));
}

Status wait_until_up(const DevCluster& cluster, const UpOptions& options,
                     PatientInterrupts& interrupts, const Say& say) {
  const auto begin = Clock::now();
  for (const ClusterNode& node : cluster.nodes) {
    if (!node.process) {
      say(fmt::format("{} is left down as asked", node.name));
      continue;
    }
    while (true) {
      const Status status = check_node(node);
      if (status) break;
      if (!is_alive(*node.process)) return failed(node, "its process ended");
      if (Clock::now() - begin > options.patience) {
        return failed(node, fmt::format("it did not answer at {}:{} within {} ms", node.address,
                                        kHttpPort, options.patience.count()));
      }
      if (interrupts.pause(std::chrono::milliseconds(50)))
        return make_error(Code::kCancelled, "interrupted");
    }
    say(fmt::format("{} is up after {:.1f} s (pid {}, {}, {})", node.name,
                    std::chrono::duration<double>(Clock::now() - begin).count(), node.process->pid,
                    node.address, node.mount()));
  }
  return ok();
}

}  // namespace

Result<DevCluster> cluster_up(const UpOptions& options, const Say& say) {
  TRY_ASSIGN(const Fd lock, lock_cluster(options.directory, true));
  std::error_code error;
  const std::string directory = stdfs::canonical(options.directory, error).string();
  TRY_ASSIGN(DevCluster cluster, plan_cluster(directory, options.nodes, options.first_address));
  TRY(prepare(cluster, options, say));
  TRY_ASSIGN(const std::string program, own_program());

  PatientInterrupts interrupts;
  Status status = ok();
  for (ClusterNode& node : cluster.nodes) {
    if (std::count(options.leave_down.begin(), options.leave_down.end(), node.name) > 0) continue;
    // Saved after each start, so that down finds every process even if we are killed here.
    status = start_node(node, cluster, options, program);
    if (status) status = save_cluster(cluster);
    if (!status) break;
  }
  if (status) status = wait_until_up(cluster, options, interrupts, say);
  if (status) return cluster;

  say("taking everything down again (data and logs stay)");
  const Status stopped = stop_and_unmount(cluster, say);
  if (stopped)
    stdfs::remove(cluster.state_file(), error);
  else
    say(stopped.error().message);
  return status.error();
}

}  // namespace shufflefs
