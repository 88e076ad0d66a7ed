#include "merge/table_records.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

namespace shufflefs::merge {
namespace {

using Random = std::mt19937_64;

uint64_t number_of(Random& random) {
  const uint64_t value = random() >> (random() % 64);
  return random() % 16 == 0 ? UINT64_MAX : value;
}
MapId map_of(Random& random) { return static_cast<MapId>(number_of(random) & kMaxMapId); }
NodeName node_of(Random& random) {
  return *NodeName::parse(std::string(1 + random() % 100, static_cast<char>('a' + random() % 26)));
}
FileStamp stamp_of(Random& random) {
  return {number_of(random), number_of(random), number_of(random)};
}
std::string path_of(Random& random) {
  std::string text(random() % 300, '/');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}
FileOwner owner_of(Random& random) {
  return {static_cast<uint32_t>(number_of(random)), static_cast<uint32_t>(number_of(random))};
}
std::vector<EndedMaps::Ended> ended_of(Random& random) {
  std::vector<EndedMaps::Ended> list(random() % 20);
  for (EndedMaps::Ended& one : list) one = {map_of(random), number_of(random)};
  return list;
}

TableRecord record_of(Random& random) {
  switch (random() % 6) {
    case 0: {
      MapOutput output;
      output.map = map_of(random);
      output.commit = number_of(random);
      output.life = number_of(random);
      output.form = random() % 2 == 0 ? MapOutput::Form::kFiles : MapOutput::Form::kDirectory;
      output.owner = owner_of(random);
      output.partition_count = static_cast<uint32_t>(random() % (kMaxPartitions + 1));
      output.total_bytes = number_of(random);
      output.data_path = path_of(random);
      output.index_path = path_of(random);
      output.data_stamp = stamp_of(random);
      output.index_stamp = stamp_of(random);
      return CommittedRecord{output};
    }
    case 1: return EndedRecord{map_of(random), number_of(random), random() % 2 == 0};
    case 2: return FilesGoneRecord{number_of(random)};
    case 3: {
      HeardRecord heard{node_of(random), {}};
      AnnouncedMap& announced = heard.announced;
      announced.map = map_of(random);
      announced.commit = number_of(random);
      announced.life = number_of(random);
      announced.owner = owner_of(random);
      announced.partition_count = static_cast<uint32_t>(random() % (kMaxPartitions + 1));
      for (uint64_t left = random() % 5; left > 0 && announced.partition_count > 0; --left) {
        PartitionBits bits;
        bits.first = static_cast<uint32_t>(random() % announced.partition_count);
        bits.count = 1 + static_cast<uint32_t>(random() % (announced.partition_count - bits.first));
        bits.skipped_bytes = static_cast<uint32_t>(random() % (bits.count / 8 + 1));
        const std::size_t room = (std::size_t{bits.count} + 7) / 8 - bits.skipped_bytes;
        bits.non_empty.resize(random() % (std::min<std::size_t>(room, 40) + 1));
        for (uint8_t& byte : bits.non_empty) byte = static_cast<uint8_t>(random());
        announced.ranges.push_back(bits);
      }
      return heard;
    }
    case 4: {
      EndedAtRecord ended{node_of(random), {}, ended_of(random)};
      for (uint64_t left = random() % 3; left > 0; --left) {
        const uint64_t first = number_of(random);
        ended.ranges.push_back({first, std::max(first, number_of(random))});
      }
      return ended;
    }
    default: return LifeRecord{number_of(random)};
  }
}

void check_same(const TableRecord& a, const TableRecord& b) {
  REQUIRE(a.index() == b.index());
  if (const auto* one = std::get_if<CommittedRecord>(&a))
    CHECK(one->output == std::get<CommittedRecord>(b).output);
  if (const auto* one = std::get_if<EndedRecord>(&a)) {
    const auto& other = std::get<EndedRecord>(b);
    CHECK(one->map == other.map);
    CHECK(one->commit == other.commit);
    CHECK(one->files_remain == other.files_remain);
  }
  if (const auto* one = std::get_if<FilesGoneRecord>(&a))
    CHECK(one->commit == std::get<FilesGoneRecord>(b).commit);
  if (const auto* one = std::get_if<HeardRecord>(&a)) {
    const auto& other = std::get<HeardRecord>(b);
    CHECK(one->origin == other.origin);
    CHECK(one->announced.map == other.announced.map);
    CHECK(one->announced.commit == other.announced.commit);
    CHECK(one->announced.life == other.announced.life);
    CHECK(one->announced.partition_count == other.announced.partition_count);
    CHECK(one->announced.ranges == other.announced.ranges);
    CHECK(one->announced.owner == other.announced.owner);
  }
  if (const auto* one = std::get_if<EndedAtRecord>(&a)) {
    const auto& other = std::get<EndedAtRecord>(b);
    CHECK(one->origin == other.origin);
    CHECK(one->ranges == other.ranges);
    CHECK(one->maps == other.maps);
  }
  if (const auto* one = std::get_if<LifeRecord>(&a))
    CHECK(one->life == std::get<LifeRecord>(b).life);
}

}  // namespace

TEST_CASE("records are read as they were written, and only whole") {
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    const TableRecord record = record_of(random);
    const auto bytes = encode_record(record);
    const auto read = decode_record(bytes);
    REQUIRE(read);
    check_same(record, *read);
    CHECK(encode_record(*read) == bytes);
    CHECK_FALSE(decode_record(std::span(bytes).first(random() % bytes.size())));
    auto longer = bytes;
    longer.push_back(std::byte{0});
    CHECK(decode_record(longer).error().code == Code::kCorruptData);
  }
}

TEST_CASE("random bytes pass only if they are what would have been written") {
  Random random(8);
  int passed = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::vector<std::byte> bytes;
    if (round % 2 == 0) {
      bytes.resize(random() % 40);
      for (std::byte& b : bytes) b = static_cast<std::byte>(random() >> (random() % 8));
      if (!bytes.empty()) bytes[0] = static_cast<std::byte>(random() % 8);
    } else {
      bytes = encode_record(record_of(random));
      for (uint64_t times = 1 + random() % 3; times > 0; --times)
        bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    const auto read = decode_record(bytes);
    if (!read) {
      CHECK(read.error().code == Code::kCorruptData);
      continue;
    }
    ++passed;
    CHECK(encode_record(*read) == bytes);
  }
  CHECK(passed > 100);
}

TEST_CASE("numbers have bounds") {
  const auto refused = [](const TableRecord& record) {
    return !decode_record(encode_record(record));
  };
  CommittedRecord committed;
  CHECK_FALSE(refused(committed));
  committed.output.partition_count = kMaxPartitions + 1;
  CHECK(refused(committed));
  CHECK(refused(EndedRecord{static_cast<MapId>(kMaxMapId + 1), 1, false}));
  CHECK_FALSE(refused(EndedRecord{static_cast<MapId>(kMaxMapId), 1, false}));
  HeardRecord heard{*NodeName::parse("n"), {}};
  CHECK_FALSE(refused(heard));
  CHECK(refused(HeardRecord{}));  // nobody
  heard.announced.partition_count = 100;
  heard.announced.ranges = {{90, 10, 0, {1, 1}}};
  CHECK_FALSE(refused(heard));
  for (const PartitionBits& bad :
       {PartitionBits{90, 11, 0, {}}, PartitionBits{101, 0, 0, {}}, PartitionBits{0, 8, 2, {}},
        PartitionBits{0, 8, 0, {1, 1}}, PartitionBits{0, 16, 1, {1, 1}}}) {
    heard.announced.ranges = {bad};
    CHECK(refused(heard));
  }
}

TEST_CASE("a count that the bytes cannot hold is refused before anything is allocated") {
  for (const int kind : {3, 4}) {
    auto bytes =
        encode_record(kind == 3 ? TableRecord(HeardRecord{*NodeName::parse("n"), {}})
                                : TableRecord(EndedAtRecord{*NodeName::parse("n"), {{1, 1}}, {}}));
    bytes.pop_back();  // the count of the list
    for (const int byte : {0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
      bytes.push_back(static_cast<std::byte>(byte));
    CHECK_FALSE(decode_record(bytes));
  }
}

TEST_CASE("no number is longer than it need be, or than 64 bits") {
  const auto bytes_of = [](std::initializer_list<int> list) {
    std::vector<std::byte> bytes;
    for (const int byte : list) bytes.push_back(static_cast<std::byte>(byte));
    return bytes;
  };
  CHECK(decode_record(bytes_of({5, 0})));
  CHECK_FALSE(decode_record(bytes_of({5, 0x80, 0})));
  CHECK_FALSE(decode_record(bytes_of({0x85, 0, 0})));
  CHECK(decode_record(bytes_of({5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})));
  CHECK_FALSE(decode_record(bytes_of({5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2})));
  CHECK_FALSE(decode_record(bytes_of({6, 0})));
  CHECK_FALSE(decode_record({}));
}

}  // namespace shufflefs::merge
