#include "net/membership.h"

#include <fmt/format.h>

#include <thread>

#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

NetOptions eager() {
  NetOptions options;
  options.heartbeat_interval = 10ms;
  options.lookup_interval = 10ms;
  options.backoff_first = 1ms;
  return options;
}

struct Joined {
  Joined(Reactor& reactor_of_test, std::string_view name, uint64_t incarnation,
         std::string_view members, MembershipOptions options = {})
      : reactor(reactor_of_test),
        local(std::make_shared<FakeNode>()),
        membership(reactor.context(name, incarnation, eager()), *parse_members(members), local,
                   options) {
    membership.on_new_incarnation(
        [this](const merge::NodeName& who) { seen.push_back(who.str()); });
    membership.start();
  }
  ~Joined() { reactor.run(membership.stop()); }
  Joined(const Joined&) = delete;
  Joined& operator=(const Joined&) = delete;

  void until_up(std::string_view name, bool up = true) {
    reactor.until([&] { return membership.is_up(node_name(name)) == up; });
  }

  Reactor& reactor;
  std::shared_ptr<FakeNode> local;
  std::vector<std::string> seen;
  Membership membership;
};

std::string member(std::string_view name, const HostPort& address) {
  return fmt::format("{}={}", name, to_string(address));
}

TEST_CASE("a static list has its names whether they are up or not", "[membership]") {
  Reactor reactor;
  const Served served(reactor, "node2", 5, "127.0.0.15");
  Joined joined(
      reactor, "node1", 1,
      fmt::format("node3=127.0.0.16:1,{},node1=127.0.0.11:1", member("node2", served.address())));
  const std::vector names = {node_name("node1"), node_name("node2"), node_name("node3")};
  CHECK(joined.membership.names() == names);
  CHECK(joined.membership.self() == node_name("node1"));
  CHECK(joined.membership.node(node_name("node1")) == joined.local);
  CHECK(joined.membership.node(node_name("node9")) == nullptr);
  joined.until_up("node2");
  reactor.until([&] { return joined.membership.health().at(2).reason != "not contacted yet"; });

  const auto health = joined.membership.health();
  REQUIRE(health.size() == 3);
  CHECK(health[0].self);
  CHECK(health[0].up);
  CHECK(health[0].address == "127.0.0.11:1");
  CHECK(health[1].up);
  CHECK(health[1].address == to_string(served.address()));
  CHECK(!health[2].up);
  CHECK(health[2].reason == "connecting: Connection refused");
  CHECK(!joined.membership.is_up(node_name("node3")));
  CHECK(reactor.run(joined.membership.node(node_name("node2"))->list_shuffles()));
  CHECK(joined.seen == std::vector<std::string>{"node2"});
}

TEST_CASE("this node is a member even if the list forgets it", "[membership]") {
  Reactor reactor;
  Joined joined(reactor, "node1", 1, "");
  CHECK(joined.membership.names() == std::vector{node_name("node1")});
  CHECK(joined.membership.is_up(node_name("node1")));
  CHECK(joined.membership.health().size() == 1);
}

TEST_CASE("a restart of a peer is noticed, once", "[membership]") {
  Reactor reactor;
  auto served = std::make_unique<Served>(reactor, "node2", 5, "127.0.0.15");
  const HostPort address = served->address();
  Joined joined(reactor, "node1", 1, member("node2", address));
  joined.until_up("node2");
  CHECK(joined.seen.size() == 1);
  served.reset();
  joined.until_up("node2", false);
  served = std::make_unique<Served>(reactor, "node2", 6, "127.0.0.15", NetOptions{}, address.port);
  joined.until_up("node2");
  reactor.until([&] { return joined.seen.size() == 2; });
  const uint64_t beats = reactor.metrics.value("shufflefs_peer_answered_total", "ping");
  reactor.until(
      [&] { return reactor.metrics.value("shufflefs_peer_answered_total", "ping") > beats + 2; });
  CHECK(joined.seen == std::vector<std::string>{"node2", "node2"});
}

TEST_CASE("other threads may ask for names and health at any time", "[membership]") {
  Reactor reactor;
  auto served = std::make_unique<Served>(reactor, "node2", 5, "127.0.0.1");
  const uint16_t port = served->address().port;
  Joined joined(reactor, "node1", 1, fmt::format("dns:localhost:{}", port));
  std::size_t asked = 0;
  const std::jthread other([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (const merge::NodeName& name : joined.membership.names()) {
        asked += joined.membership.is_up(name) ? 1 : 0;
      }
      asked += joined.membership.health().size();
    }
  });
  joined.until_up("node2");
  served.reset();
  joined.until_up("node2", false);
  served = std::make_unique<Served>(reactor, "node3", 6, "127.0.0.1", NetOptions{}, port);
  joined.until_up("node3");
}

TEST_CASE("a peer under a wrong name is down, and says why", "[membership]") {
  Reactor reactor;
  const Served served(reactor, "node2", 5, "127.0.0.15");
  Joined joined(reactor, "node1", 1, member("node3", served.address()));
  reactor.until([&] {
    return joined.membership.health().at(1).reason.find("is node2, not node3") != std::string::npos;
  });
  CHECK(!joined.membership.is_up(node_name("node3")));
  CHECK(joined.seen.empty());
}

TEST_CASE("members by DNS tell their names themselves", "[membership]") {
  Reactor reactor;
  const Served served(reactor, "node2", 5, "127.0.0.1");
  Joined joined(reactor, "node1", 1, fmt::format("dns:localhost:{}", served.address().port));
  CHECK(joined.membership.names() == std::vector{node_name("node1")});
  joined.until_up("node2");
  const std::vector both = {node_name("node1"), node_name("node2")};
  CHECK(joined.membership.names() == both);
  CHECK(reactor.run(joined.membership.node(node_name("node2"))->list_shuffles()));
  CHECK(joined.seen == std::vector<std::string>{"node2"});
}

TEST_CASE("by DNS this node finds itself and does not take itself for a peer", "[membership]") {
  Reactor reactor;
  const Served served(reactor, "node1", 77, "127.0.0.1");
  Joined joined(reactor, "node1", 77, fmt::format("dns:localhost:{}", served.address().port));
  reactor.until([&] {
    const auto health = joined.membership.health();
    return std::ranges::any_of(
        health, [](const merge::PeerHealth& peer) { return peer.self && !peer.address.empty(); });
  });
  CHECK(joined.membership.names() == std::vector{node_name("node1")});
  CHECK(joined.membership.node(node_name("node1")) == joined.local);
  CHECK(joined.seen.empty());
}

TEST_CASE("an address that DNS gives to another node is not the old one's any more",
          "[membership]") {
  Reactor reactor;
  auto served = std::make_unique<Served>(reactor, "node2", 5, "127.0.0.1");
  const uint16_t port = served->address().port;
  Joined joined(reactor, "node1", 1, fmt::format("dns:localhost:{}", port),
                {.lost_patience = 100ms});
  joined.until_up("node2");
  served.reset();
  served = std::make_unique<Served>(reactor, "node3", 6, "127.0.0.1", NetOptions{}, port);
  joined.until_up("node3");
  const std::vector names = {node_name("node1"), node_name("node3")};
  reactor.until([&] { return joined.membership.names() == names; });
  CHECK(joined.membership.node(node_name("node2")) == nullptr);
}

TEST_CASE("a member that DNS lists stays one while it is down", "[membership]") {
  Reactor reactor;
  auto served = std::make_unique<Served>(reactor, "node2", 5, "127.0.0.1");
  const uint16_t port = served->address().port;
  Joined joined(reactor, "node1", 1, fmt::format("dns:localhost:{}", port), {.lost_patience = 1ms});
  joined.until_up("node2");
  served.reset();
  joined.until_up("node2", false);
  const uint64_t failures = reactor.metrics.value("shufflefs_peer_connect_failures_total");
  reactor.until([&] {
    return reactor.metrics.value("shufflefs_peer_connect_failures_total") > failures + 20;
  });
  const std::vector names = {node_name("node1"), node_name("node2")};
  CHECK(joined.membership.names() == names);
}

TEST_CASE("a name that does not resolve leaves this node alone and can be stopped",
          "[membership]") {
  Reactor reactor;
  Joined joined(reactor, "node1", 1, "dns:no-such-host.invalid:7338");
  CHECK(joined.membership.names() == std::vector{node_name("node1")});
}

TEST_CASE("a peer handed out may outlive the membership", "[membership]") {
  Reactor reactor;
  std::shared_ptr<merge::NodeApi> peer;
  {
    Joined joined(reactor, "node1", 1, "node2=127.0.0.15:1");
    peer = joined.membership.node(node_name("node2"));
  }
  const auto late = reactor.run(peer->list_shuffles());
  REQUIRE(!late);
}

}  // namespace
}  // namespace shufflefs::net::testing
