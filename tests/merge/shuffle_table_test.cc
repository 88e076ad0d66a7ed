// The events of this node and of others, one by one. How they stand a restart is in
// shuffle_table_restart_test.cc.
#include "merge/shuffle_table.h"

#include <algorithm>

#include "tests/merge/table_world.h"

namespace shufflefs::merge {
namespace {

using testing::announced;
using testing::describe;
using testing::ended;
using testing::info_of;
using testing::is_over;
using testing::key;
using testing::node;
using testing::TableWorld;
using Kind = ShuffleTable::News::Kind;

const ShuffleKey kShuffle = key("app/1");
const NodeName kOther = node("n2");
const NodeName kThird = node("n3");

std::vector<Kind> kinds(const ShuffleTable& table, uint64_t after = 0) {
  std::vector<Kind> list;
  for (const auto& news : table.news_after(after, 1000)) list.push_back(news.kind);
  return list;
}

}  // namespace

TEST_CASE("what is committed is known, once, by its name and by its files") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const Inspected written = world.write(kShuffle, 3, {5, 0, 7});
  const auto done = world.commit(written);
  REQUIRE(done.output);
  CHECK_FALSE(done.replaced);
  CHECK(done.output->commit > 0);
  CHECK(done.output->life == 0);
  CHECK(table.find(kShuffle, MapId{3}) == done.output);
  CHECK_FALSE(table.find(kShuffle, MapId{4}));
  CHECK_FALSE(table.find(key("app/2"), MapId{3}));
  CHECK(table.is_current(*done.output));
  CHECK(table.of(kShuffle) == std::vector{done.output});
  CHECK(table.all() == std::vector{done.output});
  CHECK(table.shuffles() == std::vector{kShuffle});
  CHECK(table.has_own(kShuffle));
  CHECK(table.bytes_of(kShuffle.app) == 12);
  CHECK(table.partition_count(kShuffle) == 3);
  CHECK(*table.sizes_of(*done.output) == written.sizes);
  CHECK_FALSE(world.commit(written).output);
  CHECK(table.all().size() == 1);
  const PartitionInfo info = describe(table, kShuffle);
  CHECK(info.known);
  CHECK(info.own == std::vector{OwnBlock{MapId{3}, done.output->commit, 0, false}});
}

TEST_CASE("a map output ends by the removal of any of its files, and leaves a tombstone") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef kept = world.commit(kShuffle, 1);
  const MapOutputRef one = world.commit(kShuffle, 2);
  const MapOutputRef two = world.commit(kShuffle, 3);
  const MapOutputRef three = world.commit(kShuffle, 4);
  CHECK(table.file_removed(one->data_path) == one);
  CHECK_FALSE(table.file_removed(one->index_path));  // its other half
  CHECK(table.file_removed(two->index_path) == two);
  CHECK(table.removed(kShuffle, MapId{4}) == three);
  CHECK_FALSE(table.removed(kShuffle, MapId{4}));
  CHECK_FALSE(table.file_removed("/nowhere"));
  for (const MapOutputRef& gone : {one, two, three}) {
    CHECK_FALSE(table.is_current(*gone));
    CHECK(is_over(table, kShuffle, number(gone->map), gone->commit, TableWorld::self(), 0));
  }
  CHECK_FALSE(is_over(table, kShuffle, 1, kept->commit, TableWorld::self(), 0));
  const auto tombstones = table.ended_of(kShuffle);
  REQUIRE(tombstones.size() == 1);
  CHECK(tombstones[0].origin == tag_of(TableWorld::self()));
  CHECK(tombstones[0].ranges.empty());
  CHECK(tombstones[0].maps == std::vector<EndedMaps::Ended>{{MapId{2}, one->commit},
                                                            {MapId{3}, two->commit},
                                                            {MapId{4}, three->commit}});
  CHECK_FALSE(table.is_over(kShuffle));
  CHECK(table.bytes_of(kShuffle.app) == 3);
}

TEST_CASE("with the last own map output the tombstones become one range") {
  TableWorld world;
  ShuffleTable& table = world.table();
  uint64_t last = 0;
  for (uint64_t map = 0; map < 10; ++map) last = world.commit(kShuffle, map)->commit;
  for (uint64_t map = 0; map < 10; ++map) table.removed(kShuffle, static_cast<MapId>(map));
  const auto ended = table.ended_of(kShuffle);
  REQUIRE(ended.size() == 1);
  REQUIRE(ended[0].ranges.size() == 1);
  CHECK(ended[0].ranges[0].last == last);
  CHECK(ended[0].maps.empty());
  CHECK(table.is_over(kShuffle));
  CHECK(kinds(table) == std::vector{Kind::kAllEnded});
  CHECK(table.news_after(0, 10)[0].all_ended == ended[0].ranges[0]);
  // A later one is not meant.
  const MapOutputRef again = world.commit(kShuffle, 3);
  CHECK(again->commit > last);
  CHECK_FALSE(table.is_over(kShuffle));
  CHECK_FALSE(is_over(table, kShuffle, 3, again->commit, TableWorld::self(), 0));
  CHECK(kinds(table) == std::vector{Kind::kAllEnded, Kind::kCommitted});
}

TEST_CASE("applications with map outputs that have no byte end like others") {
  TableWorld world;
  ShuffleTable& table = world.table();
  for (uint64_t map = 0; map < 3; ++map) world.commit(kShuffle, map, {0, 0});
  world.commit(kShuffle, 3, {4});
  CHECK(table.bytes_of(kShuffle.app) == 4);
  for (const uint64_t map : {3U, 0U, 1U, 2U})
    CHECK(table.removed(kShuffle, static_cast<MapId>(map)));
  CHECK(table.bytes_of(kShuffle.app) == 0);
  CHECK(table.is_over(kShuffle));
}

TEST_CASE("a later commit of a map id replaces the earlier one") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef first = world.commit(kShuffle, 1, {1});
  SECTION("in the same files") {
    const auto second = world.commit(world.write(kShuffle, 1, {2}));
    REQUIRE(second.output);
    CHECK(second.replaced == first);
    CHECK(second.output->commit > first->commit);
    CHECK(table.find(kShuffle, MapId{1}) == second.output);
    CHECK(table.file_removed(second.output->data_path) == second.output);
  }
  SECTION("in others: those of the first remain, and are not committed again") {
    const Inspected old = world.write(kShuffle, 1, {1}, "elsewhere");
    const auto second = world.commit(old);
    const auto third = world.commit(world.write(kShuffle, 1, {3}));
    REQUIRE(third.output);
    CHECK(third.replaced == second.output);
    CHECK_FALSE(world.commit(old).output);
    CHECK(table.find(kShuffle, MapId{1}) == third.output);
    // Another file in their place is another map output.
    const auto fourth = world.commit(world.write(kShuffle, 1, {4}, "elsewhere"));
    REQUIRE(fourth.output);
    CHECK(fourth.replaced == third.output);
  }
  CHECK(is_over(table, kShuffle, 1, first->commit, TableWorld::self(), 0));
  CHECK_FALSE(table.is_current(*first));
}

TEST_CASE("of twins on two nodes the later commit counts, on both") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef own = world.commit(kShuffle, 1);
  CHECK(info_of(table, kShuffle).maps == 1);
  CHECK(table.announced(kOther, announced(kShuffle, 1, own->commit + 5)));
  CHECK(info_of(table, kShuffle).maps == 0);  // its origin counts it
  CHECK(is_over(table, kShuffle, 1, own->commit, TableWorld::self(), 0));
  CHECK_FALSE(is_over(table, kShuffle, 1, own->commit + 5, kOther, 0));
  CHECK(describe(table, kShuffle).own.size() == 1);  // both are there
  CHECK(describe(table, kShuffle).heard ==
        std::vector{HeardBlock{MapId{1}, kOther, own->commit + 5, true}});
  // What is committed with knowledge of it is later.
  const auto again = world.commit(world.write(kShuffle, 1, {9}));
  CHECK(again.output->commit > own->commit + 5);
  CHECK(info_of(table, kShuffle).maps == 1);
  CHECK(is_over(table, kShuffle, 1, own->commit + 5, kOther, 0));
  // When the later one ends, the earlier twin counts.
  table.announced(kThird, announced(kShuffle, 1, again.output->commit + 7));
  CHECK(info_of(table, kShuffle).maps == 0);
  CHECK(table.ended(kThird, ended(kShuffle, 1, again.output->commit + 7)));
  CHECK(info_of(table, kShuffle).maps == 1);
}

TEST_CASE("another node's map output is known until it ends, whatever comes late") {
  TableWorld world;
  ShuffleTable& table = world.table();
  CHECK(table.announced(kOther, announced(kShuffle, 1, 10)));
  CHECK(table.shuffles() == std::vector{kShuffle});
  CHECK_FALSE(table.has_own(kShuffle));
  CHECK(describe(table, kShuffle, 0).heard == std::vector{HeardBlock{MapId{1}, kOther, 10, true}});
  CHECK(describe(table, kShuffle, 1).heard == std::vector{HeardBlock{MapId{1}, kOther, 10, false}});
  CHECK(describe(table, kShuffle, 7).heard == std::vector{HeardBlock{MapId{1}, kOther, 10, false}});
  table.announced(kOther, announced(kShuffle, 1, 8));  // late news of an earlier commit
  CHECK(describe(table, kShuffle, 0).heard == std::vector{HeardBlock{MapId{1}, kOther, 10, true}});
  table.ended(kOther, ended(kShuffle, 1, 8));
  CHECK(describe(table, kShuffle, 0).heard.size() == 1);
  table.ended(kOther, ended(kShuffle, 1, 10));
  CHECK(describe(table, kShuffle, 0).heard.empty());
  CHECK(table.is_over(kShuffle));
  CHECK(table.shuffles().empty());
  table.announced(kOther, announced(kShuffle, 1, 10));  // comes again, late
  CHECK(describe(table, kShuffle, 0).heard.empty());
  CHECK(is_over(table, kShuffle, 1, 10, kOther, 0));
  CHECK_FALSE(is_over(table, kShuffle, 1, 10, kThird, 0));  // another node's
  table.ended(kOther, {kShuffle, 0, {{1, 20}}, {}});
  CHECK(is_over(table, kShuffle, 2, 20, kOther, 0));
  CHECK_FALSE(is_over(table, kShuffle, 2, 21, kOther, 0));
}

TEST_CASE("ranges that are told again are added to those of before") {
  TableWorld world;
  ShuffleTable& table = world.table();
  AnnouncedMap one = announced(kShuffle, 1, 10, 0, 24);
  one.ranges = {{0, 8, 0, {0b1}}};
  table.announced(kOther, one);
  CHECK(describe(table, kShuffle, 9).heard ==
        std::vector{HeardBlock{MapId{1}, kOther, 10, std::nullopt}});
  one.ranges = {{8, 8, 0, {0b10}}};
  table.announced(kOther, one);
  CHECK(describe(table, kShuffle, 0).heard[0].non_empty == true);
  CHECK(describe(table, kShuffle, 1).heard[0].non_empty == false);
  CHECK(describe(table, kShuffle, 9).heard[0].non_empty == true);
  CHECK_FALSE(describe(table, kShuffle, 16).heard[0].non_empty);
  // Those of a commit do not count for the next one.
  one.commit = 11;
  table.announced(kOther, one);
  CHECK_FALSE(describe(table, kShuffle, 0).heard[0].non_empty);
  CHECK(describe(table, kShuffle, 0).unheard.empty());
  // Who is no candidate is told of no range, and vouches for nothing when it becomes one.
  one.map = MapId{2};
  one.ranges.clear();
  table.announced(kOther, one);
  CHECK(describe(table, kShuffle, 0).heard.size() == 1);
  CHECK(describe(table, kShuffle, 0).unheard == std::vector{kOther});
}

TEST_CASE("an origin that has lost a map output takes back nothing of what it told") {
  TableWorld world;
  ShuffleTable& table = world.table();
  AnnouncedMap one = announced(kShuffle, 1, 10, 0, 24);
  one.ranges.clear();
  for (uint32_t p = 0; p < 24; p += 2) one.ranges.push_back({p, 1, 0, {0b1}});
  table.announced(kOther, one);
  one.ranges.clear();
  table.announced(kOther, one);
  for (uint32_t p = 0; p < 24; p += 2)
    CHECK(describe(table, kShuffle, p).heard[0].non_empty == true);
}

TEST_CASE("what was pushed before it was announced keeps its shuffle alive") {
  TableWorld world;
  ShuffleTable& table = world.table();
  table.announced(kOther, announced(kShuffle, 1, 10));
  table.pushed(kShuffle, kOther, MapId{2}, {12, tag_of(kOther)});
  table.pushed(kShuffle, kOther, MapId{3}, {12, tag_of(kThird)});  // a drain moves another's
  table.ended(kOther, ended(kShuffle, 1, 10));
  CHECK_FALSE(table.is_over(kShuffle));
  CHECK(is_over(table, kShuffle, 2, 11, kOther, 0));
  table.announced(kOther, announced(kShuffle, 2, 12));
  CHECK(describe(table, kShuffle).heard == std::vector{HeardBlock{MapId{2}, kOther, 12, true}});
  CHECK(table.partition_count(kShuffle) == 3);
  table.ended(kOther, ended(kShuffle, 2, 12));
  CHECK(table.is_over(kShuffle));
  table.pushed(kShuffle, kOther, MapId{2}, {12, tag_of(kOther)});  // late
  CHECK(table.is_over(kShuffle));
}

TEST_CASE("a drop begins a new life of the name, and everything before it is over") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const ShuffleKey second = key("app/2");
  const ShuffleKey other = key("app2/1");
  const Inspected files = world.write(kShuffle, 1, {1});
  const MapOutputRef own = world.commit(files).output;
  const MapOutputRef own2 = world.commit(second, 1);
  const MapOutputRef kept = world.commit(other, 1);
  table.announced(kOther, announced(kShuffle, 2, 10));
  table.refused(kShuffle, "bad");
  CHECK(table.refusals(kShuffle) == std::vector<std::string>{"bad"});
  const uint64_t life = world.clock().tick();
  CHECK(table.dropped({kShuffle.app, kShuffle.shuffle, life}) == std::vector{own});
  CHECK(table.dropped({kShuffle.app, kShuffle.shuffle, life}).empty());
  CHECK(table.dropped({kShuffle.app, kShuffle.shuffle, life - 1}).empty());
  CHECK(table.life_of(kShuffle) == life);
  CHECK(table.life_of(second) == 0);
  CHECK(table.of(kShuffle).empty());
  CHECK(table.partition_count(kShuffle) == 0);
  CHECK(table.refusals(kShuffle).empty());
  CHECK_FALSE(describe(table, kShuffle).known);
  CHECK_FALSE(table.is_over(kShuffle));  // of the new life nothing was ever heard
  // Its files remain, as they are on a disk that is away, and are not committed again.
  CHECK_FALSE(world.commit(files).output);
  // What comes late is of the earlier life.
  CHECK_FALSE(table.announced(kOther, announced(kShuffle, 3, 11)));
  CHECK_FALSE(table.ended(kOther, ended(kShuffle, 3, 11)));
  CHECK(is_over(table, kShuffle, 3, 1U << 30U, kOther, 0));
  CHECK(table.announced(kOther, announced(kShuffle, 3, life + 1, life)));
  CHECK_FALSE(is_over(table, kShuffle, 3, life + 1, kOther, life));
  // The whole application, also those shuffles of it that nobody has heard of.
  const uint64_t later = world.clock().tick();
  CHECK(table.dropped({kShuffle.app, std::nullopt, later}) == std::vector{own2});
  for (const ShuffleKey& one : {kShuffle, second, key("app/77")})
    CHECK(table.life_of(one) == later);
  CHECK(table.all() == std::vector{kept});
  const MapOutputRef again = world.commit(kShuffle, 1, {5});
  REQUIRE(again);
  CHECK(again->life == later);
}

TEST_CASE("an executor that registers without a directory begins anew there") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const Inspected old = world.write(kShuffle, 1, {1}, "left");
  const MapOutputRef left = world.commit(old).output;
  const MapOutputRef also = world.commit(key("app/2"), 1, {1}, "left");
  const MapOutputRef kept = world.commit(kShuffle, 2, {1}, "left-not");
  auto gone = table.directory_left(world.path("left"));
  std::ranges::sort(gone, {}, [](const MapOutputRef& output) { return output->shuffle; });
  CHECK(gone == std::vector{left, also});
  CHECK(table.directory_left(world.path("left")).empty());
  CHECK(table.all() == std::vector{kept});
  CHECK(is_over(table, kShuffle, 1, left->commit, TableWorld::self(), 0));
  CHECK(table.is_over(key("app/2")));
  CHECK_FALSE(world.commit(old).output);  // a scan finds its files
  CHECK_FALSE(table.file_removed(left->index_path));
  CHECK(world.commit(old).output);  // they were removed: this is another one
}

TEST_CASE("what is lost says so until it is found") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef one = world.commit(kShuffle, 1);
  const MapOutputRef two = world.commit(kShuffle, 2);
  table.lost(*one, "gone");
  table.lost(*one, "still gone");
  table.lost(*two, "gone too");
  CHECK(table.loss_of(*one) == "gone");
  CHECK(table.lost_maps() == 2);
  CHECK(table.is_current(*one));
  CHECK(describe(table, kShuffle).own[0].lost);
  CHECK(info_of(table, kShuffle).maps == 2);
  CHECK(info_of(table, kShuffle).maps_lost == 2);
  REQUIRE(world.io().rename(two->data_path, two->data_path + ".away"));
  const uint64_t before = table.last_news();
  CHECK(table.look_for_lost());
  CHECK_FALSE(table.look_for_lost());
  // It may have been told of without its bits: it is told of again.
  const auto again = table.news_after(before, 10);
  REQUIRE(again.size() == 1);
  CHECK(again[0].output == one);
  CHECK_FALSE(table.loss_of(*one));
  CHECK(table.loss_of(*two));
  CHECK(table.lost_maps() == 1);
  REQUIRE(world.io().rename(two->data_path + ".away", two->data_path));
  CHECK(table.look_for_lost());
  CHECK(table.lost_maps() == 0);
  table.lost(*two, "gone");
  table.removed(kShuffle, two->map);
  CHECK(table.lost_maps() == 0);
  table.lost(*two, "gone");  // late
  CHECK(table.lost_maps() == 0);
  CHECK_FALSE(table.loss_of(*two));
}

TEST_CASE("the last few refusals are kept") {
  TableWorld world;
  for (int i = 0; i < 20; ++i) world.table().refused(kShuffle, std::to_string(i));
  const auto kept = world.table().refusals(kShuffle);
  REQUIRE(kept.size() == 8);
  CHECK(kept.back() == "19");
  CHECK(info_of(world.table(), kShuffle).refused_commits == kept);
  CHECK(world.table().shuffles().empty());
}

TEST_CASE("news come in the order of events, and what is over is told once") {
  TableWorld world;
  ShuffleTable& table = world.table();
  world.commit(kShuffle, 1);
  const MapOutputRef two = world.commit(kShuffle, 2);
  CHECK(kinds(table) == std::vector{Kind::kCommitted, Kind::kCommitted});
  const uint64_t before = table.last_news();
  table.removed(kShuffle, two->map);
  CHECK(kinds(table) == std::vector{Kind::kCommitted, Kind::kEnded});
  CHECK(kinds(table, before) == std::vector{Kind::kEnded});
  CHECK(table.count_news_after(before) == 1);
  CHECK(table.count_news_after(table.last_news()) == 0);
  const auto news = table.news_after(before, 10);
  CHECK(news[0].ended == EndedMaps::Ended{MapId{2}, two->commit});
  world.commit(kShuffle, 2);
  CHECK(kinds(table) == std::vector{Kind::kCommitted, Kind::kEnded, Kind::kCommitted});
  table.dropped({kShuffle.app, std::nullopt, world.clock().tick()});
  CHECK(kinds(table) == std::vector{Kind::kDropped});
  CHECK(table.news_after(0, 10)[0].whole_app);
  for (uint64_t map = 0; map < 3000; ++map) world.commit(kShuffle, map, {0});
  CHECK(table.count_news_after(0) >= 3001);
}

TEST_CASE(
    "all news are all that a new member need know, and the last ones bring another up to date") {
  TableWorld world;
  TableWorld old_member;
  TableWorld new_member;
  ShuffleTable& table = world.table();
  const ShuffleKey second = key("app/2");
  std::vector<MapOutputRef> outputs;
  for (uint64_t map = 0; map < 6; ++map) outputs.push_back(world.commit(kShuffle, map));
  outputs.push_back(world.commit(second, 1));
  uint64_t told = testing::tell(table, TableWorld::self(), 0, old_member.table());
  CHECK(describe(old_member.table(), kShuffle).heard.size() == 6);
  table.removed(kShuffle, MapId{0});
  outputs.push_back(world.commit(world.write(kShuffle, 1, {8})).output);
  told = testing::tell(table, TableWorld::self(), told, old_member.table());
  table.removed(second, MapId{1});
  table.dropped({AppId(*AppId::parse("gone")), std::nullopt, world.clock().tick()});
  testing::tell(table, TableWorld::self(), told, old_member.table());
  testing::tell(table, TableWorld::self(), 0, new_member.table());
  for (const ShuffleKey& shuffle : {kShuffle, second, key("gone/9")}) {
    const PartitionInfo a = describe(old_member.table(), shuffle);
    const PartitionInfo b = describe(new_member.table(), shuffle);
    CHECK(a.heard == b.heard);
    CHECK(a.ended == b.ended);
    CHECK(a.life == b.life);
    for (const MapOutputRef& output : outputs) {
      if (output->shuffle != shuffle) continue;
      for (ShuffleTable* const member : {&old_member.table(), &new_member.table()})
        CHECK(is_over(*member, shuffle, number(output->map), output->commit, TableWorld::self(),
                      0) != table.is_current(*output));
    }
  }
}

TEST_CASE("the progress of pushes is counted by map output") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef one = world.commit(kShuffle, 1);
  const MapOutputRef two = world.commit(kShuffle, 2);
  const MapOutputRef three = world.commit(kShuffle, 3);
  table.planned(*one, 2, 1, 500);
  table.planned(*two, 1, 0, 0);
  table.unpushed(*three);
  ShuffleInfo info = info_of(table, kShuffle);
  CHECK(info.maps == 3);
  CHECK(info.maps_settled == 0);
  CHECK(info.maps_unpushed == 1);
  CHECK(info.blocks_left_home == 1);
  CHECK(info.bytes_left_home == 500);
  table.chunk_merged(*one);
  table.chunks_added(*one, 1);
  table.chunk_merged(*one);
  CHECK(info_of(table, kShuffle).maps_settled == 0);
  table.chunk_merged(*one);
  CHECK(info_of(table, kShuffle).maps_settled == 1);
  table.chunk_given_up(*two, "owner n2: full", 3, 70);
  table.chunks_added(*two, 1);
  table.chunk_given_up(*two, "owner n2: full", 1, 30);
  info = info_of(table, kShuffle);
  CHECK(info.maps_given_up == 1);
  REQUIRE(info.given_up.size() == 1);
  CHECK(info.given_up[0].reason == "owner n2: full");
  CHECK(info.given_up[0].chunks == 2);
  CHECK(info.given_up[0].blocks == 4);
  CHECK(info.given_up[0].bytes == 100);
  // Planned anew: a drain, or an owner that is back.
  table.planned(*two, 1, 0, 0);
  table.chunk_merged(*two);
  table.planned(*three, 0, 0, 0);
  CHECK(info_of(table, kShuffle).maps_settled == 3);
  // What has ended is not brought back by a chunk that ends late.
  table.removed(kShuffle, one->map);
  table.chunk_merged(*one);
  table.chunk_given_up(*one, "late", 1, 1);
  table.planned(*one, 1, 0, 0);
  table.unpushed(*one);
  info = info_of(table, kShuffle);
  CHECK(info.maps == 2);
  CHECK(info.maps_settled == 2);
  CHECK(info.given_up.empty());
}

TEST_CASE("sizes are kept until everybody is told and the chunks are known, within their bytes") {
  TableWorld world;
  ShuffleTable& table = world.table();
  const MapOutputRef one = world.commit(kShuffle, 1);
  const MapOutputRef two = world.commit(kShuffle, 2);
  table.told(table.last_news());
  CHECK(table.sizes_of(*one));
  table.planned(*one, 1, 0, 0);
  CHECK_FALSE(table.sizes_of(*one));
  table.unpushed(*two);
  CHECK_FALSE(table.sizes_of(*two));
  const MapOutputRef three = world.commit(kShuffle, 3);
  table.planned(*three, 1, 0, 0);
  CHECK(table.sizes_of(*three));
  table.told(table.last_news());
  CHECK_FALSE(table.sizes_of(*three));
  // 1 MiB in all.
  const std::vector<uint64_t> many(40'000, 1);
  const MapOutputRef big = world.commit(kShuffle, 4, many);
  CHECK(table.sizes_of(*big));
  const MapOutputRef bigger = world.commit(kShuffle, 5, std::vector<uint64_t>(60'000, 1));
  CHECK_FALSE(table.sizes_of(*bigger));
  table.removed(kShuffle, big->map);
  CHECK_FALSE(table.sizes_of(*big));
  CHECK(table.sizes_of(*world.commit(kShuffle, 6, many)));
}

}  // namespace shufflefs::merge
