// What a node keeps of its shuffles: the table's log, and the lists of the blocks of directory
// outputs. Nobody but root can write them, but a disk may lose a part of them; they are taken for
// input all the same.
//
// Held to: a record that is read is one that would have been written; what is loaded, and what is
// appended behind it, is there the next time; a list that is read fits its map output.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "base/crc32c.h"
#include "base/endian.h"
#include "merge/map_output.h"
#include "merge/shuffle_table.h"
#include "support/in_memory.h"
#include "support/temp_dir.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/state_targets.h"

namespace shufflefs::fuzz {
namespace {

using merge::TableLog;
using Records = std::vector<TableLog::Bytes>;

constexpr merge::MapId kMap{0};

struct World {
  void put(const std::string& path, Input bytes) const {
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    require(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  World() {
    require(io->make_directories(root + "/app-1").has_value());
    require(io->make_directories(directory / "output").has_value());
  }

  testing::InMemory in_memory;
  testing::TempDir directory;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  const std::string root = directory / "table";
  const std::string log_path = root + "/app-1/0";
  const std::string all_path = root + "/app-1/all";
  const merge::ShuffleKey key{merge::AppId::parse("app-1").value(), merge::ShuffleId{0}};
  const merge::NodeName self = merge::NodeName::parse("n1").value();
};

Records load(const World& world, TableLog& log) {
  Records found;
  require(log.load([&](const TableLog::Name& name, std::span<const std::byte> record) {
               if (name.shuffle) found.emplace_back(record.begin(), record.end());
             })
              .has_value());
  require(log.bytes({world.key.app, world.key.shuffle}) <= world.io->stat(world.log_path)->size);
  return found;
}

void use_log(const World& world, Input bytes) {
  world.put(world.log_path, bytes);
  merge::LogicalClock clock(*world.io, "");
  Records found;
  {
    TableLog log(*world.io, world.root, clock);
    found = load(world, log);
    found.push_back(merge::encode_record(merge::FilesGoneRecord{7}));
    log.append({world.key.app, world.key.shuffle}, found.back(), 7);
    require(log.flush().has_value());
  }
  TableLog log(*world.io, world.root, clock);
  require(load(world, log) == found);
}

std::vector<merge::HeardBlock> heard_in(const merge::ShuffleTable& table,
                                        const merge::ShuffleKey& key, merge::PartitionInfo& info) {
  std::vector<merge::MapOutputRef> own;
  table.describe(key, merge::PartitionId{1}, info, own);
  return info.heard;
}

// The table that has such a log, and what it says after another start.
void use_table(const World& world) {
  merge::PartitionInfo before;
  for (const bool again : {false, true}) {
    merge::LogicalClock clock(*world.io, "");
    TableLog log(*world.io, world.root, clock);
    merge::ShuffleTable table(*world.io, log, clock, world.self, world.directory / "heard",
                              1U << 20U);
    require(table.load().has_value());
    merge::PartitionInfo info;
    (void)heard_in(table, world.key, info);
    for (const auto& news : table.news_after(0, 1000)) {
      if (news.kind == merge::ShuffleTable::News::Kind::kCommitted) require(news.output != nullptr);
    }
    merge::ShuffleInfo totals;
    table.describe(world.key, totals);
    require(totals.maps <= info.own.size());
    (void)table.ended_of(world.key);
    if (again) {
      require(info.own == before.own && info.life == before.life);
      require(info.heard.size() == before.heard.size());
      for (const auto& output : table.all()) (void)table.removed(output->shuffle, output->map);
      require(table.all().empty());
    }
    before = info;
    require(table.flush().has_value());
  }
}

void use_list(const World& world, Input bytes, merge::MapOutput output) {
  world.put(output.index_path, bytes);
  output.index_stamp = world.io->stat(output.index_path)->stamp;
  const auto sizes = merge::read_sizes(*world.io, output);
  if (sizes) {
    require(sizes->partition_count() == output.partition_count);
    require(sizes->total_bytes() == output.total_bytes);
  }
  const auto lengths = merge::block_lengths(*world.io, output, 1, 4);
  if (lengths) require(lengths->size() == 4);
  std::array<std::byte, 16> block{};
  for (uint32_t i = 0; i < 4; ++i)
    (void)merge::read_block(*world.io, output, merge::PartitionId{i}, i, block);
}

}  // namespace

// As the file is, as one record, and as records whose lengths and checksums are right.
void table_log(Input input) {
  static const World world;
  if (const auto record = merge::decode_record(input))
    require(std::ranges::equal(merge::encode_record(*record), input));
  world.put(world.all_path, {});
  use_log(world, input);
  Script script(input);
  const bool whole_app = script.byte() % 4 == 0;
  if (whole_app) {
    std::vector<std::byte> life(8);
    const auto record = merge::encode_record(merge::LifeRecord{script.number(2)});
    store_le(life.data(), static_cast<uint32_t>(record.size()));
    store_le(life.data() + 4, crc32c(record));
    life.insert(life.end(), record.begin(), record.end());
    world.put(world.all_path, life);
  }
  std::vector<std::byte> sealed;
  while (!script.done()) {
    const Input record = script.piece(2);
    std::array<std::byte, 8> head{};
    store_le(head.data(), static_cast<uint32_t>(record.size()));
    store_le(head.data() + 4, crc32c(record));
    sealed.insert(sealed.end(), head.begin(), head.end());
    sealed.insert(sealed.end(), record.begin(), record.end());
  }
  use_log(world, sealed);
  world.put(world.log_path, sealed);
  use_table(world);
}

// As it is, and with the head and the checksum made right.
void block_list(Input input) {
  static const World world;
  Script script(input);
  merge::MapOutput output;
  output.shuffle = world.key;
  output.map = kMap;
  output.form = merge::MapOutput::Form::kDirectory;
  output.data_path = world.directory / "output";
  output.index_path = world.directory / "list";
  output.partition_count = static_cast<uint32_t>(script.number(1));
  output.total_bytes = script.number(2);
  const Input records = script.rest();
  use_list(world, records, output);
  std::vector<std::byte> sealed(16);
  std::memcpy(sealed.data(), "SFSBLOCK", 8);
  store_le(&sealed[8], output.partition_count);
  store_le(&sealed[12], crc32c(records));
  sealed.insert(sealed.end(), records.begin(), records.end());
  use_list(world, sealed, output);
}

}  // namespace shufflefs::fuzz
