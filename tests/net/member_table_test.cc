// Who is newer, what is taken, and that nodes come to the same list.
#include "net/member_table.h"

#include <fmt/format.h>

#include <random>

#include "net/messages.h"
#include "tests/net/support.h"

namespace shufflefs::net::testing {
namespace {

MemberRecord record(std::string_view name, uint64_t clock, bool left = false,
                    uint64_t incarnation = 1) {
  return {node_name(name), {"127.0.0.9", 7338}, incarnation, clock, left};
}

MemberTable::Options of(std::string_view name, uint64_t incarnation = 77) {
  return {{node_name(name), incarnation}, {"127.0.0.1", 7338}};
}

TEST_CASE("of two records of a name the higher clock counts, then leaving, then the incarnation",
          "[member_table]") {
  CHECK(is_newer(record("n", 2), record("n", 1, true, 9)));
  CHECK(is_newer(record("n", 2, true), record("n", 2, false, 9)));
  CHECK(is_newer(record("n", 2, false, 9), record("n", 2, false, 8)));
  CHECK(!is_newer(record("n", 2), record("n", 2)));
}

TEST_CASE("nodes that hear the same in another order come to the same list", "[member_table]") {
  Reactor reactor;
  std::mt19937 random(7);
  std::vector<MemberRecord> news;
  for (uint64_t i = 0; i < 200; ++i)
    news.push_back(
        record(fmt::format("n{}", random() % 20), random() % 5, random() % 3 == 0, random() % 3));
  MemberTable first(reactor.runtime, of("a"));
  for (const MemberRecord& one : news) first.learn(one);
  for (int round = 0; round < 20; ++round) {
    std::ranges::shuffle(news, random);
    MemberTable second(reactor.runtime, of("a"));
    for (const MemberRecord& one : news) second.learn(one);
    CHECK(second.digests() == first.digests());
    CHECK(second.names() == first.names());
    CHECK(second.view_hash() == merge::hash_of_view(first.names()));
  }
}

TEST_CASE("an exchange brings over what differs, and no more", "[member_table]") {
  Reactor reactor;
  MemberTable first(reactor.runtime, of("a"));
  MemberTable second(reactor.runtime, of("b"));
  for (int i = 0; i < 500; ++i) first.learn(record(fmt::format("n{}", i), 1));
  second.learn(second.own());
  const MemberExchange all = first.answer({second.digests(), {second.own()}});
  CHECK(all.records.size() == 502);
  for (const MemberRecord& one : all.records) second.learn(one);
  CHECK(second.digest().records == first.digest().records);
  CHECK(second.digest().view == first.digest().view);

  second.remove(node_name("n7"));
  CHECK(second.digest().records != first.digest().records);
  const MemberExchange some = second.answer({first.digests(), {}});
  CHECK(some.records.size() < 20);
  for (const MemberRecord& one : some.records) first.learn(one);
  CHECK(first.digests() == second.digests());
  CHECK(!first.contains(node_name("n7")));
  // Old news brings nobody back.
  CHECK(!first.learn(record("n7", 1)));
  CHECK(!first.contains(node_name("n7")));
}

TEST_CASE("a node that hears that it has left says that it is there", "[member_table]") {
  Reactor reactor;
  MemberTable table(reactor.runtime, of("a"));
  CHECK(table.learn(record("a", 9, true, 77)));
  CHECK(table.own().clock == 10);
  CHECK(!table.own().left);
  CHECK(table.learn(record("a", 12, false, 3)));  // an earlier process of it
  CHECK(table.own().clock == 13);
  CHECK(table.own().incarnation == 77);
  table.leave();
  CHECK(!table.learn(record("a", 20, true, 77)));
  CHECK(table.names() == std::vector{node_name("a")});
}

TEST_CASE("two nodes with one name do not contradict each other at every word", "[member_table]") {
  Reactor reactor;
  MemberTable first(reactor.runtime, of("a", 1));
  MemberTable second(reactor.runtime, of("a", 2));
  for (int i = 0; i < 100; ++i) {
    first.learn(second.own());
    second.learn(first.own());
  }
  CHECK(first.own().clock < 12);
}

TEST_CASE("members are restored from the text of an earlier process", "[member_table]") {
  Reactor reactor;
  std::string text;
  {
    MemberTable table(reactor.runtime, of("a"));
    table.learn(record("b", 3));
    table.learn(record("c", 4, true));
    table.learn({node_name("d"), {"", 7338}, 5, 5, false});
    table.leave();
    text = table.text();
  }
  MemberTable table(reactor.runtime, of("a", 78));
  CHECK(table.restore(text) == 0);
  const std::vector names = {node_name("a"), node_name("b"), node_name("d")};
  CHECK(table.names() == names);
  CHECK(*table.find(node_name("b")) == record("b", 3));
  CHECK(table.find(node_name("d"))->address == HostPort{"", 7338});
  CHECK(!table.learn(record("c", 4)));
  CHECK(table.own().clock == 3);  // after its own leaving
  CHECK(!table.own().left);
  for (const char* bad : {"b", "b 1.2.3.4:5 1 x member\n", "b 1.2.3.4:5 1 1 maybe\n",
                          "b nowhere 1 1 left", "- 1.2.3.4:5 1 1 left"})
    CHECK(table.restore(bad) == 1);
}

TEST_CASE("an address that is none is not taken", "[member_table]") {
  Reactor reactor;
  MemberTable table(reactor.runtime, of("a"));
  CHECK(!table.learn({node_name("b"), {"1.2.3.4:1 1 1 member\nc 1.2.3.4", 7338}, 1, 1, false}));
  CHECK(table.learn({node_name("c"), {"fe80::1%eth0", 7338}, 1, kMostClock, false}));
  table.remove(node_name("c"));
  CHECK(table.text().find("c [fe80::1%eth0]:7338 1 4611686018427387904 left") != std::string::npos);
}

TEST_CASE("without a secret only nodes of this machine are taken", "[member_table]") {
  Reactor reactor;
  MemberTable::Options options = of("a");
  options.this_machine_only = true;
  MemberTable table(reactor.runtime, options);
  CHECK(table.learn(record("b", 1)));
  CHECK(!table.learn({node_name("c"), {"10.0.0.1", 7338}, 1, 1, false}));
  CHECK(!table.contains(node_name("c")));
}

TEST_CASE("the list has a bound, and names that have left too", "[member_table]") {
  Reactor reactor;
  MemberTable::Options options = of("a");
  options.most = 3;
  MemberTable table(reactor.runtime, options);
  CHECK(table.learn(record("b", 1)));
  CHECK(table.learn(record("c", 1)));
  CHECK(!table.learn(record("d", 1)));
  table.remove(node_name("b"));
  CHECK(table.learn(record("d", 1)));
  for (uint64_t i = 0; i < 10; ++i) table.learn(record(fmt::format("gone{}", i), i + 5, true));
  CHECK(table.text().find("gone9") != std::string::npos);
  CHECK(table.text().find("gone2") == std::string::npos);
  CHECK(std::ranges::count(table.text(), '\n') <= 6);
}

TEST_CASE("ten thousand members fit into a frame", "[member_table]") {
  Reactor reactor;
  MemberTable table(reactor.runtime, of("a"));
  for (std::size_t i = 1; i < kMostMembers; ++i) {
    table.learn({*merge::NodeName::parse(fmt::format("{:x>100}", i)),
                 {fmt::format("{:y>255}", i), 65535},
                 UINT64_MAX,
                 1ULL << 60U,
                 false});
  }
  CHECK(table.names().size() == kMostMembers);
  const Bytes frame = encode(table.answer({}));
  CHECK(frame.size() < kMaxHeaderBytes);
  CHECK(decode<MemberExchange>("members", frame)->records.size() == kMostMembers);
}

TEST_CASE("a node that listens everywhere is told its address by those whom it meets",
          "[member_table]") {
  Reactor reactor;
  MemberTable table(reactor.runtime, {{node_name("a"), 1}, {"0.0.0.0", 7338}});
  CHECK(table.own_address().empty());
  table.seen_from("127.0.0.1");
  CHECK(table.own_address() == "127.0.0.1:7338");
  table.seen_from("10.0.0.7");
  table.seen_from("10.0.0.8");
  CHECK(table.own_address() == "10.0.0.7:7338");
  MemberTable configured(reactor.runtime, of("b"));
  configured.seen_from("10.0.0.7");
  CHECK(configured.own_address() == "127.0.0.1:7338");
}

}  // namespace
}  // namespace shufflefs::net::testing
