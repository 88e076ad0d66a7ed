// Several nodes that tell each other who is there, over real sockets.
#include <fmt/format.h>

#include "base/recent_events.h"
#include "support/temp_dir.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

NetOptions eager() {
  NetOptions options;
  options.heartbeat_interval = 10ms;
  options.view_patience = 50ms;
  options.backoff_first = 1ms;
  return options;
}

// A node as the daemon has it, with a fake one behind.
struct Node {
  Node(Reactor& reactor_of_test, std::string_view name, uint64_t incarnation, HostPort listen,
       std::string_view members, MembershipOptions options = {})
      : reactor(reactor_of_test),
        local(std::make_shared<FakeNode>()),
        membership(reactor.context(name, incarnation, eager()), *parse_members(members), local,
                   options),
        server(membership.context(), *local) {
    REQUIRE(server.listen(listen));
    address = {listen.host, server.port()};
    if (listen.host != "0.0.0.0") membership.table().set_own_address(address);
    membership.load();
    server.on_hello([this](const merge::NodeName& who) { membership.noticed(who); });
    membership.start();
    server.start();
  }
  ~Node() {
    reactor.run(membership.stop());
    reactor.run(server.stop());
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] bool knows(std::string_view names) const {
    std::string text;
    for (const merge::NodeName& name : membership.names()) text += name.str() + " ";
    return text == std::string(names) + " ";
  }
  [[nodiscard]] bool is_up(std::string_view name) const {
    return membership.is_up(node_name(name));
  }
  [[nodiscard]] std::string member(std::string_view name) const {
    return fmt::format("{}={}", name, to_string(address));
  }

  Reactor& reactor;
  std::shared_ptr<FakeNode> local;
  Membership membership;
  PeerServer server;
  HostPort address;
};

std::size_t logged(std::string_view code) {
  return static_cast<std::size_t>(std::ranges::count_if(
      recent_events().last(), [code](const RecentEvent& event) { return event.code == code; }));
}

TEST_CASE("a chain of seeds comes to one list", "[spread]") {
  Reactor reactor;
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"));
  const Node third(reactor, "n3", 3, {"127.0.0.33", 0}, second.member("n2"));
  const Node fourth(reactor, "n4", 4, {"127.0.0.34", 0}, third.member("n3"));
  for (const Node* node : {&first, &second, &third, &fourth}) {
    reactor.until([&] { return node->knows("n1 n2 n3 n4"); });
    for (const char* name : {"n1", "n2", "n3", "n4"})
      reactor.until([&] { return node->is_up(name); });
    CHECK(node->membership.view_hash() == first.membership.view_hash());
    CHECK(node->membership.differences().empty());
  }
  const Node late(reactor, "n5", 5, {"127.0.0.35", 0}, fourth.member("n4"));
  for (const Node* node : {&first, &second, &third, &fourth, &late})
    reactor.until([&] { return node->knows("n1 n2 n3 n4 n5"); });
}

TEST_CASE("a node that is down stays a member, and is met again at another address", "[spread]") {
  Reactor reactor;
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  auto second =
      std::make_unique<Node>(reactor, "n2", 2, HostPort{"127.0.0.32", 0}, first.member("n1"));
  const Node third(reactor, "n3", 3, {"127.0.0.33", 0}, first.member("n1"));
  reactor.until([&] { return first.is_up("n2") && third.is_up("n2"); });
  second.reset();
  reactor.until([&] { return !first.is_up("n2") && !third.is_up("n2"); });
  CHECK(first.knows("n1 n2 n3"));
  CHECK(third.knows("n1 n2 n3"));
  second = std::make_unique<Node>(reactor, "n2", 9, HostPort{"127.0.0.36", 0}, first.member("n1"));
  reactor.until([&] { return first.is_up("n2") && third.is_up("n2"); });
  CHECK(third.membership.health().at(1).address == to_string(second->address));
}

TEST_CASE("a node with an old list drops it for the one of the others", "[spread]") {
  Reactor reactor;
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "n2=127.0.0.32:1,n9=127.0.0.39:1");
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"));
  // Who was listed and has never been seen is waited for, everywhere.
  reactor.until([&] { return second.knows("n1 n2 n9") && first.is_up("n2"); });
}

TEST_CASE("a member that is forgotten leaves everywhere, and may come back", "[spread]") {
  const shufflefs::testing::TempDir directory;
  const auto io = make_posix_file_io();
  MembershipOptions kept;
  kept.io = io.get();
  kept.file = directory / "members";
  Reactor reactor;
  Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  auto second =
      std::make_unique<Node>(reactor, "n2", 2, HostPort{"127.0.0.32", 0}, first.member("n1"), kept);
  auto third =
      std::make_unique<Node>(reactor, "n3", 3, HostPort{"127.0.0.33", 0}, second->member("n2"));
  const Node fourth(reactor, "n4", 4, {"127.0.0.34", 0}, first.member("n1"));
  reactor.until([&] {
    return first.is_up("n3") && second->is_up("n3") && fourth.is_up("n3") &&
           second->knows("n1 n2 n3 n4");
  });
  const Status up = reactor.run(first.membership.forget(node_name("n3")));
  CHECK(up.error().code == Code::kExists);
  CHECK(reactor.run(first.membership.forget(node_name("n1"))).error().code ==
        Code::kInvalidArgument);
  CHECK(reactor.run(first.membership.forget(node_name("n8"))).error().code == Code::kNotFound);

  const HostPort was = second->address;
  second.reset();
  third.reset();
  REQUIRE(reactor.run(first.membership.forget(node_name("n3"))));
  CHECK(first.knows("n1 n2 n4"));
  CHECK(first.membership.node(node_name("n3")) == nullptr);
  reactor.until([&] { return fourth.knows("n1 n2 n4"); });

  // It was down meanwhile, and has n3 in its list and in its file.
  second =
      std::make_unique<Node>(reactor, "n2", 5, was, first.member("n1") + ",n3=127.0.0.33:1", kept);
  CHECK(second->knows("n1 n2 n3 n4"));
  reactor.until([&] { return second->knows("n1 n2 n4"); });
  CHECK(first.knows("n1 n2 n4"));

  third = std::make_unique<Node>(reactor, "n3", 6, HostPort{"127.0.0.33", 0}, fourth.member("n4"));
  for (const Node* node : {&std::as_const(first), &std::as_const(*second), &fourth})
    reactor.until([&] { return node->knows("n1 n2 n3 n4") && node->is_up("n3"); });
}

TEST_CASE("a node that leaves for good has left when it has said so", "[spread]") {
  Reactor reactor;
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"));
  {
    Node third(reactor, "n3", 3, {"127.0.0.33", 0}, first.member("n1"));
    reactor.until([&] { return third.is_up("n1") && third.is_up("n2") && second.is_up("n3"); });
    reactor.run(third.membership.leave());
    CHECK(first.knows("n1 n2"));
    CHECK(second.knows("n1 n2"));
    CHECK(third.knows("n1 n2 n3"));
  }
  const Node again(reactor, "n3", 4, {"127.0.0.33", 0}, first.member("n1"));
  reactor.until([&] { return first.is_up("n3") && second.is_up("n3"); });
}

TEST_CASE("learnt members are known after a restart", "[spread]") {
  const shufflefs::testing::TempDir directory;
  const auto io = make_posix_file_io();
  MembershipOptions kept;
  kept.io = io.get();
  kept.file = directory / "members";
  Reactor reactor;
  {
    const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
    const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"));
    const Node third(reactor, "n3", 3, {"127.0.0.33", 0}, second.member("n2"), kept);
    reactor.until([&] { return third.knows("n1 n2 n3"); });
  }
  const Node alone(reactor, "n3", 4, {"127.0.0.33", 0}, "", kept);
  CHECK(alone.knows("n1 n2 n3"));
  CHECK(logged("membership.not_read") == 0);
}

TEST_CASE("two nodes with one name are told of", "[spread]") {
  Reactor reactor;
  const std::size_t before = logged("membership.name_taken");
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"));
  const Node twin(reactor, "n2", 3, {"127.0.0.33", 0}, first.member("n1"));
  reactor.until([&] { return logged("membership.name_taken") > before; });
  CHECK(first.knows("n1 n2"));
}

TEST_CASE("lists that stay different are told of, with the names", "[spread]") {
  Reactor reactor;
  MembershipOptions small;
  small.most = 2;
  const Node first(reactor, "n1", 1, {"127.0.0.31", 0}, "");
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0}, first.member("n1"), small);
  reactor.until([&] { return second.is_up("n1") && first.is_up("n2"); });
  CHECK(first.membership.differences().empty());
  {
    const Node third(reactor, "n3", 3, {"127.0.0.33", 0}, first.member("n1"));
    reactor.until([&] {
      return !first.membership.differences().empty() && !second.membership.differences().empty();
    });
    const auto here = first.membership.differences();
    CHECK(here.at(0).node == node_name("n2"));
    CHECK(here.at(0).missing_there == std::vector{node_name("n3")});
    const auto there = second.membership.differences();
    CHECK(there.at(0).node == node_name("n1"));
    CHECK(there.at(0).missing_here == std::vector{node_name("n3")});
    CHECK(second.knows("n1 n2"));
  }
  CHECK(logged("membership.views_differ") >= 2);
}

TEST_CASE("nodes that listen everywhere learn where they are reached", "[spread]") {
  Reactor reactor;
  Node first(reactor, "n1", 1, {"0.0.0.0", 0}, "");
  // Its own port, which the daemon has from its configuration.
  first.membership.table().set_own_address({"", first.address.port});
  const Node second(reactor, "n2", 2, {"127.0.0.32", 0},
                    fmt::format("n1=127.0.0.31:{}", first.address.port));
  const Node third(reactor, "n3", 3, {"127.0.0.33", 0}, second.member("n2"));
  reactor.until([&] { return first.is_up("n3") && third.is_up("n1"); });
  reactor.until([&] {
    return second.membership.context().members->digest().records ==
           third.membership.context().members->digest().records;
  });
}

}  // namespace
}  // namespace shufflefs::net::testing
