// What a table knows is what its log says: after a restart at any point it answers as before.
#include <filesystem>
#include <random>
#include <set>
#include <sstream>

#include "merge/shuffle_table.h"
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
using testing::tell;

const ShuffleKey kShuffle = key("app/1");
const ShuffleKey kSecond = key("app/2");
const NodeName kOther = node("n2");

struct Known {
  ShuffleKey shuffle;
  MapCommit commit;
  uint64_t life = 0;
  NodeName origin;
};

// Everything that the table answers and that must stand a restart.
std::string answers(TableWorld& world, const std::vector<ShuffleKey>& shuffles,
                    const std::vector<Known>& commits) {
  const ShuffleTable& table = world.table();
  std::ostringstream text;
  for (const ShuffleKey& shuffle : table.shuffles()) text << to_string(shuffle) << ' ';
  for (const ShuffleKey& shuffle : shuffles) {
    text << '\n' << to_string(shuffle) << ": life " << table.life_of(shuffle);
    text << " over " << table.is_over(shuffle) << " bytes " << table.bytes_of(shuffle.app);
    const ShuffleInfo info = info_of(table, shuffle);
    text << " maps " << info.maps << " lost " << info.maps_lost << " bytes " << info.bytes;
    for (const MapOutputRef& output : table.of(shuffle))
      text << "\n  own " << number(output->map) << " " << output->commit << " life " << output->life
           << " " << output->data_path << " lost " << table.loss_of(*output).has_value();
    for (const uint32_t partition : {0U, 1U, 2U}) {
      const PartitionInfo one = describe(table, shuffle, partition);
      text << "\n  known " << one.known;
      std::set<std::string> heard;  // one map id's are in the order in which they came
      for (const HeardBlock& block : one.heard)
        heard.insert(fmt::format(" {} of {} commit {} bit {}", number(block.map),
                                 block.origin.str(), block.commit,
                                 block.non_empty ? *block.non_empty ? "1" : "0" : "?"));
      for (const std::string& line : heard) text << "\n  heard" << line;
    }
  }
  for (const Known& known : commits) {
    text << (is_over(table, known.shuffle, number(known.commit.map), known.commit.id.commit,
                     known.origin, known.life)
                 ? '-'
                 : '+');
  }
  return text.str();
}

}  // namespace

// A node that comes back with an empty disk knows nothing of what it had committed.
TEST_CASE("a new table says nothing of what an earlier one of its node knew") {
  TableWorld world;
  TableWorld other;
  const MapOutputRef lost = world.commit(kShuffle, 30);
  tell(world.table(), kOther, 0, other.table());
  world.lose_table_and_restart();
  world.commit(kShuffle, 51);
  world.table().removed(kShuffle, MapId{51});
  REQUIRE(world.table().news_after(0, 10).at(0).kind == ShuffleTable::News::Kind::kAllEnded);
  for (int restarts = 0; restarts < 2; ++restarts) {
    tell(world.table(), kOther, 0, other.table());
    CHECK_FALSE(is_over(other.table(), kShuffle, 30, lost->commit, kOther, 0));
    CHECK_FALSE(other.table().is_over(kShuffle));
    CHECK(describe(other.table(), kShuffle).heard.size() == 1);
    world.flush_and_restart();
    other.flush_and_restart();
  }
}

TEST_CASE(
    "what a new table finds on other disks, and then ends, ends under its former commit too") {
  TableWorld world;
  TableWorld other;
  const Inspected written = world.write(kShuffle, 30, {1, 2});
  const MapOutputRef former = world.commit(written).output;
  tell(world.table(), kOther, 0, other.table());
  world.lose_table_and_restart({written});
  CHECK(world.table().find(kShuffle, MapId{30})->commit > former->commit);
  world.table().removed(kShuffle, MapId{30});
  for (int restarts = 0; restarts < 2; ++restarts) {
    tell(world.table(), kOther, 0, other.table());
    CHECK(is_over(other.table(), kShuffle, 30, former->commit, kOther, 0));
    CHECK(other.table().is_over(kShuffle));
    world.flush_and_restart();
    other.flush_and_restart();
  }
}

TEST_CASE("own map outputs, those of others, tombstones and lives stand a restart") {
  TableWorld world;
  const MapOutputRef kept = world.commit(kShuffle, 1);
  const MapOutputRef removed = world.commit(kShuffle, 2);
  world.table().removed(kShuffle, MapId{2});
  world.remove_files(*removed);
  world.table().announced(kOther, announced(kShuffle, 7, 10));
  world.table().announced(kOther, announced(kShuffle, 8, 11));
  world.table().ended(kOther, ended(kShuffle, 8, 11));
  world.table().dropped({AppId(*AppId::parse("gone")), std::nullopt, 55});
  for (int round = 0; round < 2; ++round) {
    world.flush_and_restart();
    const ShuffleTable& table = world.table();
    REQUIRE(table.find(kShuffle, MapId{1}));
    CHECK(*table.find(kShuffle, MapId{1}) == *kept);
    CHECK(table.all().size() == 1);
    CHECK(table.lost_maps() == 0);
    CHECK(is_over(table, kShuffle, 2, removed->commit, TableWorld::self(), 0));
    CHECK(describe(table, kShuffle, 2).heard ==
          std::vector{HeardBlock{MapId{7}, kOther, 10, true}});
    CHECK(is_over(table, kShuffle, 8, 11, kOther, 0));
    CHECK(table.life_of(key("gone/4")) == 55);
    CHECK(world.clock().now() >= removed->commit);
    CHECK_FALSE(table.sizes_of(*kept));  // read again
  }
  // What is found by a scan is known, and what is committed now is later.
  CHECK_FALSE(
      world
          .commit(*inspect_files(world.io(), kShuffle, MapId{1}, kept->data_path, kept->index_path))
          .output);
  CHECK(world.commit(kShuffle, 9)->commit > removed->commit);
}

TEST_CASE("the life of a shuffle is the later one of its own and its application's drop") {
  TableWorld world;
  ShuffleTable& table = world.table();
  CHECK(table.life_of(kShuffle) == 0);
  table.dropped({kShuffle.app, kShuffle.shuffle, 50});
  table.dropped({kShuffle.app, kShuffle.shuffle, 40});
  CHECK(table.life_of(kShuffle) == 50);
  CHECK(table.life_of(kSecond) == 0);
  table.dropped({kShuffle.app, std::nullopt, 70});
  world.flush_and_restart();
  CHECK(world.table().life_of(kShuffle) == 70);
  CHECK(world.table().life_of(kSecond) == 70);
  world.table().dropped({kShuffle.app, kSecond.shuffle, 90});
  world.flush_and_restart();
  CHECK(world.table().life_of(kShuffle) == 70);
  CHECK(world.table().life_of(kSecond) == 90);
}

TEST_CASE(
    "what is committed after a drop of its application stands a restart, what was before not") {
  TableWorld world;
  // Many, as the files of a directory are listed in any order.
  std::vector<ShuffleKey> shuffles;
  for (uint32_t i = 0; i < 20; ++i) shuffles.push_back(key(fmt::format("app/{}", i)));
  for (const ShuffleKey& shuffle : shuffles) {
    world.commit(shuffle, 1);
    world.commit(shuffle, 2);
    world.table().removed(shuffle, MapId{2});
    world.table().announced(kOther, announced(shuffle, 4, 10));
    world.table().ended(kOther, ended(shuffle, 5, 12));
  }
  const uint64_t life = world.clock().tick();
  CHECK(world.table().dropped({kShuffle.app, std::nullopt, life}).size() == 20);
  shuffles.push_back(key("app/20"));  // unknown until then
  std::vector<MapOutputRef> now;
  std::vector<MapOutputRef> gone;
  for (const ShuffleKey& shuffle : shuffles) {
    now.push_back(world.commit(shuffle, 1, {7}, "new"));
    gone.push_back(world.commit(shuffle, 3, {7}, "new"));
    world.table().removed(shuffle, MapId{3});
    world.table().announced(kOther, announced(shuffle, 4, life + 1000, life));
    world.table().ended(kOther, ended(shuffle, 5, life + 1001, life));
  }
  for (int round = 0; round < 3; ++round) {
    world.flush_and_restart();
    for (std::size_t i = 0; i < shuffles.size(); ++i) {
      const ShuffleTable& table = world.table();
      CHECK(table.life_of(shuffles[i]) == life);
      REQUIRE(table.of(shuffles[i]).size() == 1);
      CHECK(*table.of(shuffles[i])[0] == *now[i]);
      CHECK(is_over(table, shuffles[i], 3, gone[i]->commit, TableWorld::self(), life));
      CHECK(is_over(table, shuffles[i], 5, life + 1001, kOther, life));
      const PartitionInfo info = describe(table, shuffles[i]);
      CHECK(info.heard == std::vector{HeardBlock{MapId{4}, kOther, life + 1000, true}});
      CHECK(info.ended.size() == 2);  // of this life, and no earlier one
      for (const EndedAt& tombstones : info.ended) CHECK(tombstones.maps.size() == 1);
    }
  }
}

TEST_CASE("files that remain of what has ended are not committed again after a restart") {
  TableWorld world;
  const Inspected dropped = world.write(kShuffle, 1, {1});
  const Inspected left = world.write(kSecond, 2, {2}, "left");
  const Inspected replaced = world.write(kSecond, 3, {2}, "early");
  world.commit(dropped);
  world.commit(left);
  world.commit(replaced);
  world.commit(world.write(kSecond, 3, {2}, "late"));
  world.table().dropped({kShuffle.app, kShuffle.shuffle, world.clock().tick()});
  world.table().directory_left(world.path("left"));
  for (int round = 0; round < 3; ++round) {
    for (const Inspected& one : {dropped, left, replaced}) {
      INFO(one.output.index_path);
      CHECK_FALSE(world.commit(one).output);
    }
    CHECK(world.table().all().size() == 1);
    world.flush_and_restart();
  }
  // Once they are gone, the next ones of their names are new.
  world.remove_files(left.output);
  world.restart();
  CHECK(world.commit(kSecond, 2, {2}, "left"));
  world.flush_and_restart();
  CHECK(world.table().all().size() == 2);
}

TEST_CASE("what was dropped and is known to be gone need not be remembered") {
  TableWorld world;
  const Inspected one = world.write(kShuffle, 1, {1}, "maps/1-0");
  const Inspected other = world.write(kShuffle, 2, {1}, "maps/1-00");
  world.commit(one);
  world.commit(other);
  world.table().dropped({kShuffle.app, kShuffle.shuffle, world.clock().tick()});
  world.table().files_gone_below(kShuffle, world.path("maps/1-0"));
  world.table().files_gone_below(kSecond, world.path("maps/1-00"));
  CHECK_FALSE(world.commit(other).output);
  CHECK(world.commit(one).output);
  world.flush_and_restart();
  CHECK_FALSE(world.commit(other).output);
  CHECK(world.table().all().size() == 1);
}

TEST_CASE("what was lost, cut or has changed while the node was away is noticed at its start") {
  TableWorld world;
  const MapOutputRef whole = world.commit(kShuffle, 1);
  const MapOutputRef gone = world.commit(kShuffle, 2);
  const MapOutputRef cut = world.commit(kShuffle, 3, {10, 20});
  const MapOutputRef index = world.commit(kShuffle, 4);
  const MapOutputRef empty = world.commit(kShuffle, 5, {0, 0});
  REQUIRE(world.table().flush());
  REQUIRE(world.io().remove_file(gone->data_path));
  REQUIRE((*world.io().open(cut->data_path, OpenMode::kWriteCreate))->truncate(29));
  REQUIRE(world.io().remove_file(index->index_path));
  REQUIRE(world.io().remove_file(empty->data_path));  // nobody needs it
  world.restart();
  CHECK(world.table().lost_maps() == 3);
  for (const MapOutputRef& output : {gone, cut, index}) CHECK(world.table().loss_of(*output));
  for (const MapOutputRef& output : {whole, empty}) CHECK_FALSE(world.table().loss_of(*output));
  CHECK(info_of(world.table(), kShuffle).maps_lost == 3);
  // They have not ended: nobody has said so.
  CHECK(world.table().all().size() == 5);
  CHECK_FALSE(is_over(world.table(), kShuffle, 2, gone->commit, TableWorld::self(), 0));
}

TEST_CASE("a restart remembers who had told everything and was down, as what was told") {
  TableWorld world;
  const std::vector<NodeName> members = {TableWorld::self(), kOther, node("n3")};
  CHECK(world.table().unheard(members) == std::vector{kOther, node("n3")});
  world.table().announced(kOther, announced(kShuffle, 1, 10));
  world.table().told_whole_by(kOther);
  CHECK(world.table().unheard(members) == std::vector{node("n3")});
  world.restart();  // nothing of it was written
  CHECK(world.table().unheard(members).size() == 2);
  CHECK(describe(world.table(), kShuffle).heard.empty());
  world.table().announced(kOther, announced(kShuffle, 1, 10));
  world.table().told_whole_by(kOther);
  world.flush_and_restart();
  // It was up, and may commit while this node is away.
  CHECK(world.table().unheard(members).size() == 2);
  CHECK(describe(world.table(), kShuffle).heard.size() == 1);
  world.table().told_whole_by(kOther);
  world.table().set_down({kOther, node("n3")});
  world.flush_and_restart();
  CHECK(world.table().unheard(members) == std::vector{node("n3")});
  // It is back.
  world.table().set_down({});
  world.flush_and_restart();
  CHECK(world.table().unheard(members).size() == 2);
  CHECK(describe(world.table(), kShuffle).heard.size() == 1);
}

TEST_CASE("a torn log loses its last event, and lines that are no records lose themselves") {
  TableWorld world;
  const MapOutputRef one = world.commit(kShuffle, 1);
  const MapOutputRef two = world.commit(kShuffle, 2);
  REQUIRE(world.table().flush());
  const std::string log = world.log_of("app/1");
  const uint64_t size = world.io().stat(log)->size;
  REQUIRE((*world.io().open(log, OpenMode::kWriteCreate))->truncate(size - 1));
  world.restart();
  CHECK(world.table().find(kShuffle, MapId{1}));
  CHECK_FALSE(world.table().find(kShuffle, MapId{2}));
  // A scan finds it again, as another commit.
  const auto again =
      *inspect_files(world.io(), kShuffle, MapId{2}, two->data_path, two->index_path);
  const MapOutputRef later = world.commit(again).output;
  REQUIRE(later);
  CHECK(later->commit > two->commit);
  world.flush_and_restart();
  CHECK(*world.table().find(kShuffle, MapId{2}) == *later);
  {
    LogicalClock clock(world.io(), world.path("clock"));
    TableLog other(world.io(), world.path("table"), clock);
    REQUIRE(other.load([](const TableLog::Name&, std::span<const std::byte>) {}));
    other.append({kShuffle.app, kShuffle.shuffle}, TableLog::Bytes(5, std::byte{77}), 0);
    other.append({kShuffle.app, kShuffle.shuffle},
                 encode_record(EndedRecord{MapId{1}, one->commit, false}), 0);
    REQUIRE(other.flush());
  }
  world.restart();
  CHECK_FALSE(world.table().find(kShuffle, MapId{1}));
  CHECK(world.table().find(kShuffle, MapId{2}));
}

TEST_CASE("a long log of what is over is written anew at a start, and says the same") {
  TableWorld world;
  const MapOutputRef kept = world.commit(kShuffle, 1);
  const Inspected left = world.write(kShuffle, 2, {1}, "left");
  world.commit(left);
  world.table().directory_left(world.path("left"));
  world.table().announced(kOther, announced(kShuffle, 3, 10));
  std::vector<Known> commits;
  const Inspected many = world.write(kShuffle, 4, {1});
  for (int i = 0; i < 1000; ++i) {
    const MapOutputRef output = world.commit(many).output;
    REQUIRE(output);
    commits.push_back({kShuffle, {MapId{4}, {output->commit, {}}}, 0, TableWorld::self()});
    world.table().removed(kShuffle, MapId{4});
  }
  world.remove_files(many.output);
  REQUIRE(world.table().flush());
  const std::string log = world.log_of("app/1");
  REQUIRE(world.io().stat(log)->size > 64U << 10U);
  const std::string before = answers(world, {kShuffle}, commits);
  for (int round = 0; round < 2; ++round) {
    world.flush_and_restart();
    CHECK(world.io().stat(log)->size < 4096);
    CHECK(answers(world, {kShuffle}, commits) == before);
    CHECK_FALSE(world.commit(left).output);
    CHECK(*world.table().find(kShuffle, MapId{1}) == *kept);
  }
}

TEST_CASE("a rewritten log of a later life has nothing of the earlier one") {
  TableWorld world;
  std::vector<Inspected> remain;
  for (uint64_t map = 0; map < 400; ++map) {
    remain.push_back(world.write(kShuffle, map, {1}));
    world.commit(remain.back());
    world.table().announced(kOther, announced(kShuffle, 1000 + map, 10 + map));
  }
  for (uint64_t map = 100; map < 400; ++map) {
    world.table().removed(kShuffle, static_cast<MapId>(map));
    world.remove_files(remain.back().output);
    remain.pop_back();
  }
  const uint64_t life = world.clock().tick();
  world.table().dropped({kShuffle.app, kShuffle.shuffle, life});
  REQUIRE(world.table().flush());
  const uint64_t before = world.io().stat(world.log_of("app/1"))->size;
  for (int round = 0; round < 3; ++round) {
    world.flush_and_restart();
    CHECK(world.io().stat(world.log_of("app/1"))->size * 2 < before);
    CHECK(world.table().life_of(kShuffle) == life);
    CHECK_FALSE(world.table().is_over(kShuffle));
    CHECK(world.table().ended_of(kShuffle).empty());
    CHECK_FALSE(describe(world.table(), kShuffle).known);
    for (const Inspected& one : remain) CHECK_FALSE(world.commit(one).output);
  }
}

TEST_CASE("names that have nothing left are forgotten, the oldest first, if there are very many") {
  TableWorld world;
  const MapOutputRef kept = world.commit(key("a/0"), 1);
  world.table().dropped({AppId(*AppId::parse("a")), ShuffleId{1}, 5});
  for (uint32_t i = 0; i < 20'100; ++i) {
    const ShuffleKey shuffle = key(fmt::format("app/{}", i));
    world.table().announced(kOther, announced(shuffle, 1, 10 + i));
    world.table().ended(kOther, {shuffle, 0, {{1, 10 + i}}, {}});
  }
  for (uint32_t i = 0; i < 20'100; ++i)
    world.table().dropped({*AppId::parse(fmt::format("gone-{}", i)), std::nullopt, 100'000 + i});
  REQUIRE(world.table().flush());
  REQUIRE(world.table().forget_old());
  CHECK(world.table().life_of(key("a/1")) == 0);
  CHECK(world.table().life_of(key("gone-0/1")) == 0);
  CHECK_FALSE(world.io().stat(world.log_of("gone-0")));
  CHECK(world.table().life_of(key("gone-20099/1")) == 120'099);
  CHECK(world.table().count_news_after(0) > 19'000);
  CHECK(world.table().all() == std::vector{kept});
  CHECK_FALSE(world.table().is_over(key("app/0")));
  CHECK(world.table().is_over(key("app/20099")));
  CHECK_FALSE(world.io().stat(world.log_of("app/0")));
  CHECK(world.io().stat(world.log_of("app/20099")));
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(world.log_of("app")))
    files += entry.is_regular_file() ? 1 : 0;
  CHECK(files <= 20'000);
}

// Random events, restarts in between: nothing that was flushed is forgotten, or comes back.
TEST_CASE("a table answers after a restart as it did before, whatever has happened") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    TableWorld world;
    TableWorld member;  // is told the news
    uint64_t told = 0;
    const std::vector<ShuffleKey> shuffles = {key("app/0"), key("app/1"), key("b/0")};
    const std::vector<NodeName> others = {node("n2"), node("n3")};
    std::vector<Known> commits;
    uint64_t remote = 1;
    for (int step = 0; step < 250; ++step) {
      ShuffleTable& table = world.table();
      const ShuffleKey shuffle = shuffles[random() % shuffles.size()];
      const uint64_t map = random() % 4;
      const uint64_t life = table.life_of(shuffle);
      const NodeName other = others[random() % others.size()];
      switch (random() % 12) {
        case 0:
        case 1:
        case 2: {
          const std::string place = random() % 2 == 0 ? "x" : "y";
          const std::vector<uint64_t> lengths = {random() % 3, random() % 2, random() % 2};
          const MapOutputRef output = world.commit(shuffle, map, lengths, place);
          REQUIRE(output);
          commits.push_back(
              {shuffle, {MapId{map}, {output->commit, {}}}, life, TableWorld::self()});
          break;
        }
        case 3:
        case 4: {
          if (const MapOutputRef output = table.find(shuffle, MapId{map})) {
            world.remove_files(*output);
            CHECK(table.file_removed(random() % 2 == 0 ? output->index_path : output->data_path));
          }
          break;
        }
        case 5: {  // a scan
          for (const MapOutputRef& output : table.all()) {
            const auto found = inspect_files(world.io(), output->shuffle, output->map,
                                             output->data_path, output->index_path);
            if (found) CHECK_FALSE(world.commit(*found).output);
          }
          break;
        }
        case 6:
        case 7:
          remote += 1 + random() % 1000;
          table.announced(other, announced(shuffle, map, remote, life));
          commits.push_back({shuffle, {MapId{map}, {remote, {}}}, life, other});
          break;
        case 8:
          if (!commits.empty()) {
            const Known& one = commits[random() % commits.size()];
            if (one.origin == TableWorld::self()) break;
            table.ended(one.origin, {one.shuffle,
                                     one.life,
                                     random() % 8 == 0 ? std::vector<CommitRange>{{1, remote}}
                                                       : std::vector<CommitRange>{},
                                     {{one.commit.map, one.commit.id.commit}}});
          }
          break;
        case 9:
          if (random() % 4 == 0)
            table.dropped({shuffle.app,
                           random() % 2 == 0 ? std::nullopt : std::optional(shuffle.shuffle),
                           world.clock().tick()});
          break;
        case 10:
          if (random() % 4 == 0) table.directory_left(world.path("x"));
          break;
        default: {
          REQUIRE(table.flush());
          told = testing::tell(table, TableWorld::self(), told, member.table());
          const std::string before = answers(world, shuffles, commits);
          const uint64_t now = world.clock().now();
          world.restart();
          CHECK(answers(world, shuffles, commits) == before);
          CHECK(world.clock().now() >= now);
          told = 0;
        }
      }
    }
    // Whoever was told step by step, and whoever is told now, know the same.
    TableWorld late;
    testing::tell(world.table(), TableWorld::self(), told, member.table());
    testing::tell(world.table(), TableWorld::self(), 0, late.table());
    for (const Known& one : commits) {
      if (one.origin != TableWorld::self()) continue;
      const bool over = is_over(world.table(), one.shuffle, number(one.commit.map),
                                one.commit.id.commit, one.origin, one.life);
      const auto now = world.table().find(one.shuffle, one.commit.map);
      const bool is_there = now && now->commit == one.commit.id.commit;
      for (TableWorld* const at : {&member, &late}) {
        const auto heard = describe(at->table(), one.shuffle).heard;
        const bool is_heard = std::ranges::any_of(heard, [&](const HeardBlock& block) {
          return block.map == one.commit.map && block.commit == one.commit.id.commit;
        });
        CHECK(is_heard == is_there);
        if (!is_there)
          CHECK(is_over(at->table(), one.shuffle, number(one.commit.map), one.commit.id.commit,
                        one.origin, one.life));
      }
      CHECK((over || is_there));
    }
  }
}

}  // namespace shufflefs::merge
