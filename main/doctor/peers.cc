// The other nodes, by the peer protocol's own hello, and their clocks; the contract is in
// main/doctor/checks.h.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "base/asio_runtime.h"
#include "base/gate.h"
#include "main/api_client.h"
#include "main/doctor/checks.h"
#include "main/json_read.h"
#include "net/members.h"
#include "net/remote_peer.h"

namespace shufflefs::doctor {
namespace {

// The clock decides which of a drop and a push came first (docs/architecture.md, Drop).
constexpr int64_t kMostSkewMs = 2000;
constexpr auto kPatience = std::chrono::seconds(10);

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
  const TimePoint deadline = context.runtime.now() + kPatience;
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
  const auto deadline = std::chrono::steady_clock::now() + 2 * kPatience;
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
  const auto there = static_cast<int64_t>(json_read::number(body, "unix_ms"));
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
      "a shuffle that is dropped on one node and used again on the other may lose pushes "
      "of the new one until the clocks have met",
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

}  // namespace shufflefs::doctor
