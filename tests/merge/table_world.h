// A ShuffleTable with its log on a real disk, that can be restarted, and map outputs for it.
#pragma once

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <vector>

#include "merge/shuffle_table.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"

namespace shufflefs::merge::testing {

inline NodeName node(std::string_view name) { return *NodeName::parse(name); }
inline ShuffleKey key(std::string_view text) { return *parse_shuffle_key(text); }

class TableWorld {
 public:
  TableWorld() { start(); }

  // As after the death of the process: what was flushed is there.
  void restart() {
    node_.reset();
    start();
  }
  void flush_and_restart() {
    REQUIRE(table().flush());
    restart();
  }
  ShuffleTable& table() { return node_->table; }
  // Its disk is new; a clock never goes back (merge/logical_clock.h). `found`: on other disks.
  void lose_table_and_restart(const std::vector<Inspected>& found = {}) {
    node_.reset();
    REQUIRE(io_->remove_tree(dir_ / "table"));
    REQUIRE(io_->remove_tree(dir_ / "heard"));
    start(found);
  }
  LogicalClock& clock() { return node_->clock; }
  FileIo& io() { return *io_; }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_ / name; }
  [[nodiscard]] std::string log_of(const std::string& name) const { return dir_ / "table/" + name; }
  static NodeName self() { return node("n1"); }

  // Writes the two files of a map output with blocks of these lengths.
  Inspected write(const ShuffleKey& shuffle, uint64_t map, const std::vector<uint64_t>& lengths,
                  const std::string& place = "files") {
    const std::string base =
        fmt::format("{}/{}/{}-{}", path(place), shuffle.app.str(), number(shuffle.shuffle), map);
    REQUIRE(io_->make_directories(base.substr(0, base.rfind('/'))));
    const BlockSizes sizes(lengths);
    const std::vector<std::byte> data(sizes.total_bytes());
    REQUIRE(replace_file(*io_, base + ".data", data));
    REQUIRE(replace_file(*io_, base + ".index", make_spark_index(sizes)));
    auto inspected =
        inspect_files(*io_, shuffle, static_cast<MapId>(map), base + ".data", base + ".index");
    REQUIRE(inspected);
    return *std::move(inspected);
  }
  ShuffleTable::Committed commit(const Inspected& inspected) {
    return table().committed(inspected.output, inspected.sizes);
  }
  MapOutputRef commit(const ShuffleKey& shuffle, uint64_t map,
                      const std::vector<uint64_t>& lengths = {1, 0, 2},
                      const std::string& place = "files") {
    return commit(write(shuffle, map, lengths, place)).output;
  }
  void remove_files(const MapOutput& output) {
    (void)io_->remove_file(output.data_path);
    (void)io_->remove_file(output.index_path);
  }

 private:
  struct Node {
    Node(FileIo& io, const std::string& root)
        : clock(io, root + "/clock"),
          log(io, root + "/table", clock),
          table(io, log, clock, self(), root + "/heard", 1U << 20U) {}
    LogicalClock clock;
    TableLog log;
    ShuffleTable table;
  };
  void start(const std::vector<Inspected>& found = {}) {
    node_ = std::make_unique<Node>(*io_, dir_.path());
    REQUIRE(node_->clock.load(WallTime(std::chrono::milliseconds(1))));
    REQUIRE(node_->table.load());
    for (const Inspected& one : found) commit(one);
    node_->table.scanned();
  }

  shufflefs::testing::InMemory in_memory_;
  shufflefs::testing::TempDir dir_;
  std::unique_ptr<FileIo> io_ = make_posix_file_io();
  std::unique_ptr<Node> node_;
};

inline AnnouncedMap announced(const ShuffleKey& shuffle, uint64_t map, uint64_t commit,
                              uint64_t life = 0, uint32_t partitions = 3) {
  AnnouncedMap one;
  one.shuffle = shuffle;
  one.map = static_cast<MapId>(map);
  one.commit = commit;
  one.life = life;
  one.partition_count = partitions;
  one.ranges = {{0, partitions, 0, {0b101}}};
  return one;
}

inline EndedMaps ended(const ShuffleKey& shuffle, uint64_t map, uint64_t commit,
                       uint64_t life = 0) {
  return {shuffle, life, {}, {{static_cast<MapId>(map), commit}}};
}

inline PartitionInfo describe(const ShuffleTable& table, const ShuffleKey& shuffle,
                              uint32_t partition = 0) {
  PartitionInfo info;
  std::vector<MapOutputRef> own;
  table.describe(shuffle, static_cast<PartitionId>(partition), info, own);
  REQUIRE(own.size() == info.own.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    CHECK(own[i]->map == info.own[i].map);
    CHECK(own[i]->commit == info.own[i].commit);
  }
  return info;
}
inline ShuffleInfo info_of(const ShuffleTable& table, const ShuffleKey& shuffle) {
  ShuffleInfo info;
  table.describe(shuffle, info);
  return info;
}

// Whether a push of the commit would be refused because it is over.
inline bool is_over(const ShuffleTable& table, const ShuffleKey& shuffle, uint64_t map,
                    uint64_t commit, const NodeName& origin, uint64_t life) {
  const Status status =
      table.check_push(shuffle, life, static_cast<MapId>(map), {commit, tag_of(origin)});
  if (!status) CHECK(status.error().code == Code::kDropped);
  return !status;
}

// Tells `to` the news of `from` behind a number, as an announcement does; the number of the last.
inline uint64_t tell(const ShuffleTable& from, const NodeName& name, uint64_t after,
                     ShuffleTable& to, std::size_t batch = 3) {
  while (true) {
    const auto list = from.news_after(after, batch);
    if (list.empty()) return after;
    CHECK(list.size() <= batch);
    for (const ShuffleTable::News& news : list) {
      CHECK(news.number > after);
      after = news.number;
      switch (news.kind) {
        case ShuffleTable::News::Kind::kCommitted: {
          AnnouncedMap told = announced(news.shuffle, number(news.output->map), news.output->commit,
                                        news.output->life, news.output->partition_count);
          // As LocalNode does: who knows a later life has seen a drop.
          if (told.life > to.life_of(news.shuffle))
            to.dropped({news.shuffle.app, news.shuffle.shuffle, told.life});
          to.announced(name, told);
          break;
        }
        case ShuffleTable::News::Kind::kEnded:
          to.ended(name, {news.shuffle, news.life, {}, {news.ended}});
          break;
        case ShuffleTable::News::Kind::kAllEnded:
          to.ended(name, {news.shuffle, news.life, {news.all_ended}, {}});
          break;
        case ShuffleTable::News::Kind::kDropped:
          to.dropped({news.shuffle.app,
                      news.whole_app ? std::nullopt : std::optional(news.shuffle.shuffle),
                      news.life});
          break;
      }
    }
  }
}

}  // namespace shufflefs::merge::testing
