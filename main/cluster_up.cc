// Starting the development cluster; the contract is in main/dev_cluster.h.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "main/dev_cluster.h"

namespace shufflefs {
namespace {

namespace fs = std::filesystem;
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
    fs::create_directories(directory, error);
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
  const std::string directory = fs::canonical(options.directory, error).string();
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
    fs::remove(cluster.state_file(), error);
  else
    say(stopped.error().message);
  return status.error();
}

}  // namespace shufflefs
