// What a running node says of itself; the contract is in main/doctor/checks.h.
#include <fmt/format.h>

#include "main/api_client.h"
#include "main/doctor/checks.h"
#include "main/status_view.h"
#include "main/top_page.h"
#include "main/version.h"
#include "net/http_client.h"

namespace shufflefs::doctor {
namespace {

void check_shuffles(const StatusView& status, Report& report) {
  uint64_t given_up = 0;
  std::string example;
  for (const ShuffleView& shuffle : status.shuffles) {
    for (const GivenUpView& entry : shuffle.given_up) {
      given_up += entry.blocks;
      example =
          fmt::format("{}/{} on {}: {}", shuffle.app, shuffle.shuffle, entry.node, entry.reason);
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
  const StatusView status = status_view(*answer);
  report.ok("daemon", fmt::format("{} runs at {}, version {}, mounted at {}", status.node, at,
                                  status.version, status.mount));
  if (status.version != kVersion) {
    report.warning("daemon",
                   fmt::format("it is version {}, this command is {}", status.version, kVersion),
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
  for (const PeerView& peer : status.peers) {
    if (peer.up || peer.self) continue;
    report.warning(
        "daemon",
        fmt::format("it does not reach {} ({}): {}", peer.name, peer.address, peer.reason),
        "what that node has is not merged or read until it is back",
        "run 'shufflefs doctor' there");
  }
  for (const DifferenceView& difference : status.differences) {
    report.problem(
        "members", fmt::format("the lists of members differ: {}", to_string(difference)),
        "who does not know a node does not ask it: what is only there is missing in what it reads",
        "membership.not_taken or membership.name_taken in the logs of both says why: too many "
        "members, an address of another machine without a secret, or two nodes with one name; "
        "'shufflefs forget NODE' takes out a node that is gone for good");
  }
  check_shuffles(status, report);
}

}  // namespace shufflefs::doctor
