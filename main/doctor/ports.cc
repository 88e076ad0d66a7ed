// The ports that a node listens on; the contract is in main/doctor/checks.h.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>
#include <set>
#include <sstream>

#include "base/fd.h"
#include "main/doctor/checks.h"

namespace shufflefs::doctor {
namespace {

// Whether a socket that is bound to `local` (as /proc/net/tcp writes it: 0100007F:1CAB) is in the
// way of ours, or is it. Addresses of version 6 are taken for in the way.
bool meets(const std::string& local, const HostPort& address) {
  const std::size_t colon = local.rfind(':');
  if (colon == std::string::npos) return false;
  unsigned port = 0;
  std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
  if (port != address.port) return false;
  in_addr wanted{};
  uint32_t bound = 0;
  if (colon != 8 || ::inet_pton(AF_INET, address.host.c_str(), &wanted) != 1) return true;
  std::from_chars(local.data(), local.data() + colon, bound, 16);
  return bound == 0 || wanted.s_addr == 0 || bound == wanted.s_addr;
}

// Inodes of the sockets that listen there, from /proc/net/tcp and tcp6 (proc(5)).
std::set<std::string> listening_sockets(const Host& host, const HostPort& address) {
  std::set<std::string> inodes;
  for (const char* const table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::istringstream lines(host.read(table));
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
          timeout >> inode;
      if (state == "0A" && meets(local, address)) inodes.insert(fmt::format("socket:[{}]", inode));
    }
  }
  return inodes;
}

// Whether we could listen there: what the kernel says to a bind.
Status try_listen(const HostPort& address) {
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(
      address.host == "localhost" ? "127.0.0.1" : address.host, error);
  if (error) return make_error(Code::kConfig, address.host + " is no IP address");
  const boost::asio::ip::tcp::endpoint endpoint(ip, address.port);
  const Fd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 ||
      ::listen(fd.get(), 1) != 0)
    return errno_error(to_string(address));
  return ok();
}

bool is_ours(const Process& process) {
  return !process.arguments.empty() && process.arguments.front().ends_with("shufflefs");
}

std::string remedy_for(const Process& holder, const std::string& key) {
  if (holder.has_argument("org.apache.spark.deploy.worker.Worker"))
    return "a standalone Worker runs a shuffle service of its own: start it with "
           "SPARK_WORKER_OPTS=-Dspark.shuffle.service.enabled=false";
  if (holder.has_argument("ExternalShuffleService"))
    return "Spark's own shuffle service runs here: stop it (sbin/stop-shuffle-service.sh)";
  if (holder.has_argument("NodeManager"))
    return "YARN's shuffle service runs in the NodeManager: give --" + key +
           " another port, and applications the same spark.shuffle.service.port";
  if (is_ours(holder)) return "another shufflefs runs: stop it, or give each its own ports";
  return fmt::format("stop it, or give --{} another port", key);
}

void check_port(const Subject& subject, const std::string& key, const HostPort& address,
                Report& report) {
  const auto holder = listener_of(subject.host, address);
  const std::string what = fmt::format("{} {}", key, to_string(address));
  if (subject.daemon_runs && holder && is_ours(*holder)) {
    report.ok("port", fmt::format("{}: held by {}", what, holder->label()));
    return;
  }
  const Status free = try_listen(address);
  if (free) {
    report.ok("port", what + " is free");
  } else if (free.error().sys_errno == EADDRNOTAVAIL) {
    report.problem("port", fmt::format("{}: this machine does not have the address", what),
                   "the daemon cannot start",
                   fmt::format("give --{} an address of 'ip addr'", key));
  } else if (free.error().sys_errno == EADDRINUSE) {
    report.problem(
        "port", fmt::format("{} is taken by {}", what, holder ? holder->label() : "somebody"),
        key == "spark-listen" ? "executors would register with that, not with the daemon; and the "
                                "daemon cannot start"
                              : "the daemon cannot start",
        holder ? remedy_for(*holder, key) : "ss -tlnp says who it is");
  } else {
    report.problem("port", free.error().message, "the daemon cannot start",
                   fmt::format("give --{} another address or port", key));
  }
}

}  // namespace

std::optional<Process> listener_of(const Host& host, const HostPort& address) {
  const std::set<std::string> inodes = listening_sockets(host, address);
  if (inodes.empty()) return std::nullopt;
  for (const std::string& name : host.list("/proc")) {
    const auto pid = parse_decimal(name, INT32_MAX);
    if (!pid) continue;
    const std::string directory = fmt::format("/proc/{}/fd", *pid);
    for (const std::string& fd : host.list(directory)) {
      if (inodes.contains(host.link(directory + "/" + fd)))
        return process_of(host, static_cast<pid_t>(*pid));
    }
  }
  return std::nullopt;
}

void check_ports(const Subject& subject, Report& report) {
  const Settings& settings = subject.settings;
  check_port(subject, "peer-listen", settings.peer_listen, report);
  check_port(subject, "http-listen", settings.http_listen, report);
  if (!settings.spark.listen.host.empty())
    check_port(subject, "spark-listen", settings.spark.listen, report);
  const bool is_everywhere =
      settings.peer_listen.host == "0.0.0.0" || settings.peer_listen.host == "::";
  if (is_everywhere && !settings.peer_security.authenticates()) {
    report.warning("port",
                   fmt::format("peer-listen {} is every interface of this machine",
                               to_string(settings.peer_listen)),
                   "whoever reaches the port can read and write shuffle data",
                   "give every node the same --secret-file, or close the port to others");
  }
}

}  // namespace shufflefs::doctor
