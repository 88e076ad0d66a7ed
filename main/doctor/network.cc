// Ports, other nodes and the running node; the contract is in main/doctor/doctor.h.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_future.hpp>
#include <charconv>
#include <future>
#include <set>
#include <sstream>

#include "base/asio_runtime.h"
#include "base/fd.h"
#include "base/gate.h"
#include "main/client.h"
#include "main/doctor/doctor.h"
#include "main/pages.h"
#include "main/version.h"
#include "main/views.h"
#include "net/http_client.h"
#include "net/membership.h"
#include "net/remote_peer.h"

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

namespace {

// Wall clocks order nothing, but a node without a clock file begins at its own (docs/formats.md).
constexpr int64_t kMostSkewMs = 2000;
constexpr auto kPeersTimeout = std::chrono::seconds(10);

struct Answer {
  net::Member member;
  Status status = ok();
  bool has_answered = false;
};

Task<void> say_hello(net::Context context, std::shared_ptr<Answer> answer) {
  const auto peer = std::make_shared<net::RemotePeer>(
      context, answer->member.name.str(), answer->member.address, net::RemotePeer::Listener());
  answer->status = co_await peer->heartbeat();
  answer->has_answered = true;
  peer->close();
}

Task<void> ask_in(net::Context context, std::vector<std::shared_ptr<Answer>> answers) {
  Gate gate(context.runtime, "doctor");
  for (const auto& answer : answers) gate.spawn(say_hello(context, answer));
  const TimePoint deadline = context.runtime.now() + kPeersTimeout;
  const auto is_open = [](const auto& answer) { return !answer->has_answered; };
  while (std::ranges::any_of(answers, is_open) && context.runtime.now() < deadline)
    co_await sleep_for(context.runtime, std::chrono::milliseconds(5));
  co_await gate.close();
}

// All at the same time: each ends within the heartbeat's own deadline.
void ask_all(const merge::NodeName& self, const std::vector<std::shared_ptr<Answer>>& answers) {
  AsioRuntime runtime(1);
  Metrics metrics;
  ByteBudget budget(runtime, 1U << 20U);
  // The incarnation is nobody's: a caller that only asks is not taken for a node.
  const net::Context context{runtime, budget, metrics, {self, 0}, {}};
  const auto done = asio::co_spawn(runtime.context(), ask_in(context, answers), asio::use_future);
  const auto deadline = std::chrono::steady_clock::now() + 2 * kPeersTimeout;
  while (done.wait_for(std::chrono::seconds(0)) != std::future_status::ready &&
         std::chrono::steady_clock::now() < deadline)
    runtime.context().run_one_for(std::chrono::milliseconds(50));
  runtime.join_disk_threads();
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// How far the node's clock is ahead of ours; an error if its HTTP port is not open to us.
Result<int64_t> skew_of(const HostPort& http) {
  const int64_t before = now_ms();
  TRY_ASSIGN(const boost::json::value body,
             api_call(net::HttpMethod::kGet, http, "/api/v1/clock", std::chrono::seconds(2)));
  const int64_t after = now_ms();
  const auto there = static_cast<int64_t>(View(body).number("unix_ms"));
  if (there >= before && there <= after) return 0;
  return there < before ? there - before : there - after;
}

std::string remedy_for(const Answer& answer) {
  switch (answer.status.error().code) {
    case Code::kVersion: return "run the same version everywhere: upgrade the older one";
    case Code::kWrongPeer: return "correct the addresses in --members";
    default:
      return "is the daemon running there, and is the port open between the nodes "
             "(NetworkPolicy, firewall)?";
  }
}

void check_clock(const net::Member& member, uint16_t http_port, std::size_t& compared,
                 Report& report) {
  const auto skew = skew_of({member.address.host, http_port});
  if (!skew) return;
  ++compared;
  if (std::abs(*skew) <= kMostSkewMs) return;
  report.warning(
      "clock",
      fmt::format("the clock of {} is {} ms {} ours", member.name.str(), std::abs(*skew),
                  *skew > 0 ? "ahead of" : "behind"),
      "times in the logs do not agree, and a node that has lost its first data disk begins its "
      "logical clock at this one",
      "run an NTP client (chrony) on every node");
}

}  // namespace

void check_peers(const Subject& subject, Report& report) {
  const Settings& settings = subject.settings;
  if (settings.members.empty()) {
    if (subject.has_settings) report.ok("members", "--members lists nobody to begin with");
    return;
  }
  const auto spec = net::parse_members(settings.members);
  if (!spec) return;  // told with the mistakes of the configuration
  if (spec->dns) {
    report.note("members", fmt::format("they come from DNS ({})", settings.members),
                "who answers is what 'shufflefs status' of a running node shows");
    return;
  }
  std::vector<std::shared_ptr<Answer>> answers;
  for (const net::Member& member : spec->fixed) {
    if (member.name == settings.node) continue;
    answers.push_back(std::make_shared<Answer>(Answer{.member = member}));
  }
  ask_all(settings.node, answers);
  std::size_t up = 0;
  std::size_t compared = 0;
  for (const auto& answer : answers) {
    if (!answer->has_answered) answer->status = make_error(Code::kTimeout, "no answer within 10 s");
    if (answer->status) {
      ++up;
      check_clock(answer->member, settings.http_listen.port, compared, report);
      continue;
    }
    report.warning("members",
                   fmt::format("{} at {}: {}", answer->member.name.str(),
                               to_string(answer->member.address), answer->status.error().message),
                   "its partitions are not merged, and its map outputs cannot be read from here",
                   remedy_for(*answer));
  }
  report.ok("members", fmt::format("{} of {} others answer", up, answers.size()));
  if (up == 0) return;
  if (compared == 0)
    report.note("clock", "no clock was compared",
                "the nodes' HTTP ports are not open to this one (http-listen)");
  else
    report.ok("clock", fmt::format("{} compared with ours", compared));
}

namespace {

void check_shuffles(View status, Report& report) {
  uint64_t given_up = 0;
  std::string example;
  for (const View shuffle : status.list("shuffles")) {
    for (const View entry : shuffle.list("given_up")) {
      given_up += entry.number("blocks");
      example = fmt::format("{}/{} on {}: {}", shuffle.text("app"), shuffle.number("shuffle"),
                            entry.text("node"), entry.text("reason"));
    }
  }
  if (given_up == 0) return;
  report.warning("shuffles",
                 fmt::format("{} blocks will not be merged, such as of {}", given_up, example),
                 "they are read one by one from where they were written",
                 "'shufflefs ls' and 'shufflefs show' give the reasons");
}

}  // namespace

void check_daemon(const Subject& subject, Report& report) {
  const std::string at = to_string(subject.http);
  const auto answer =
      api_call(net::HttpMethod::kGet, subject.http, "/api/v1/status", std::chrono::seconds(10));
  if (!answer) {
    report.note("daemon", fmt::format("none answers at {}", at),
                "what only a running node knows was not looked at");
    return;
  }
  const View status = *answer;
  report.ok("daemon", fmt::format("{} runs at {}, version {}, mounted at {}", status.text("node"),
                                  at, status.text("version"), status.text("mount")));
  if (status.text("version") != kVersion) {
    report.warning(
        "daemon",
        fmt::format("it is version {}, this command is {}", status.text("version"), kVersion),
        "the node was not restarted after an upgrade",
        "shufflefs serve ... --takeover, which keeps the mount");
  }
  const auto health =
      net::http_call(net::HttpMethod::kGet, subject.http, "/readyz", std::chrono::seconds(5));
  if (health && health->status != 200) {
    std::string reason = health->body;
    while (reason.ends_with('\n')) reason.pop_back();
    report.problem("daemon", fmt::format("it is not ready: {}", reason),
                   "calls into the mount fail or hang", "look at its log; docs/troubleshooting.md");
  }
  for (const View peer : status.list("peers")) {
    if (peer.flag("up") || peer.flag("self")) continue;
    report.warning("daemon",
                   fmt::format("it does not reach {} ({}): {}", peer.text("name"),
                               peer.text("address"), peer.text("reason")),
                   "what that node has is not merged or read until it is back",
                   "run 'shufflefs doctor' there");
  }
  for (const View difference : status.at("members").list("differences")) {
    report.problem(
        "members", fmt::format("the lists of members differ: {}", difference_text(difference)),
        "who does not know a node does not ask it: what is only there is missing in what it reads",
        "membership.not_taken or membership.name_taken in the logs of both says why: too many "
        "members, an address of another machine without a secret, or two nodes with one name; "
        "'shufflefs forget NODE' takes out a node that is gone for good");
  }
  check_shuffles(status, report);
}

}  // namespace shufflefs::doctor
