#include "merge/map_output.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/endian.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

const ShuffleKey kShuffle = *parse_shuffle_key("app/0");
constexpr MapId kMap{5};

std::vector<std::byte> index_of(const std::vector<uint64_t>& offsets) {
  std::vector<std::byte> bytes(offsets.size() * 8);
  for (std::size_t i = 0; i < offsets.size(); ++i) store_be(bytes.data() + 8 * i, offsets[i]);
  return bytes;
}

void write(FileIo& io, const std::string& path, std::string_view text) {
  REQUIRE(replace_file(io, path, std::as_bytes(std::span(text))));
}

}  // namespace

TEST_CASE("Spark's file names are recognised, and only those") {
  const auto name = parse_spark_name("shuffle_3_17_0.data");
  REQUIRE(name);
  CHECK(number(name->shuffle) == 3);
  CHECK(number(name->map) == 17);
  CHECK_FALSE(name->is_index);
  CHECK(parse_spark_name("shuffle_3_17_0.index")->is_index);
  for (const char* other :
       {"shuffle_3_17_0.data.0a1b", "shuffle_3_17_0.checksum.ADLER32", "shuffle_3_17_1.data",
        "shuffle_3_17.data", "shuffle_03_17_0.data", "shuffle_-1_17_0.data", "shuffle_3_x_0.index",
        "temp_shuffle_1", "rdd_1_2", "", "shuffle_3_17_0_0.data", "shuffle_99999999999_1_0.data",
        "xshuffle_3_17_0.data"}) {
    INFO(other);
    CHECK_FALSE(parse_spark_name(other));
  }
}

TEST_CASE("an index that fits its data gives the offsets") {
  const auto offsets = parse_spark_index(index_of({0, 10, 10, 25}), 25, "i");
  REQUIRE(offsets);
  CHECK(*offsets == std::vector<uint64_t>{0, 10, 10, 25});
}

TEST_CASE("an index that contradicts itself or its data is refused with the reason") {
  const auto reason = [](std::span<const std::byte> bytes, uint64_t size) {
    const auto parsed = parse_spark_index(bytes, size, "7.index");
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Code::kCorruptIndex);
    return parsed.error().message;
  };
  CHECK(reason({}, 0).find("truncated") != std::string::npos);
  const auto whole = index_of({0, 1});
  CHECK(reason(std::span(whole).first(15), 1).find("truncated") != std::string::npos);
  CHECK(reason(index_of({0}), 0).find("truncated") != std::string::npos);
  CHECK(reason(index_of({1, 2}), 2).find("first offset is 1") != std::string::npos);
  CHECK(reason(index_of({0, 9, 4}), 4).find("below the one before") != std::string::npos);
  CHECK(reason(index_of({0, 9}), 8).find("the data file has 8 bytes") != std::string::npos);
  CHECK(reason(index_of({0, UINT64_MAX}), 8).find("7.index") != std::string::npos);
}

TEST_CASE("seeded random bytes never pass for an index unless they are one") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes(random() % 64);
    for (std::byte& b : bytes)
      b = random() % 3 == 0 ? static_cast<std::byte>(random()) : std::byte{0};
    const uint64_t size = random() % 4 == 0 ? random() : random() % 512;
    const auto parsed = parse_spark_index(bytes, size, "i");
    if (!parsed) continue;
    CHECK(parsed->size() == bytes.size() / 8);
    CHECK(parsed->back() == size);
    CHECK(std::is_sorted(parsed->begin(), parsed->end()));
  }
}

TEST_CASE("both forms of a map output read the same") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(io->make_directories(dir / "5"));
  write(*io, dir / "5/0", "aaa");
  write(*io, dir / "5/2", "cc");
  write(*io, dir / "5/3", "");
  write(*io, dir / "5.data", "aaacc");
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 3, 3, 5, 5})));
  const auto files = inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index");
  const auto directory = inspect_directory(*io, kShuffle, kMap, dir / "5");
  REQUIRE(files);
  REQUIRE(directory);
  for (const MapOutput& output : {*files, *directory}) {
    CHECK(output.partition_count == 4);
    CHECK(output.total_bytes == 5);
    CHECK(*block_lengths(*io, output) == std::vector<uint64_t>{3, 0, 2, 0});
    CHECK(*block_length(*io, output, PartitionId{2}) == 2);
    CHECK(*block_length(*io, output, PartitionId{1}) == 0);
    CHECK(*block_length(*io, output, PartitionId{99}) == 0);
    auto reader = MapOutputReader::open(*io, output);
    REQUIRE(reader);
    std::string block(1, ' ');
    REQUIRE(reader->read(PartitionId{2}, 1, std::as_writable_bytes(std::span(block))));
    CHECK(block == "c");
    std::string all(4, ' ');
    REQUIRE(reader->read_data(1, std::as_writable_bytes(std::span(all))));
    CHECK(all == "aacc");
    CHECK_FALSE(reader->read(PartitionId{2}, 2, std::as_writable_bytes(std::span(block))));
    CHECK(make_spark_index(reader->lengths()) == index_of({0, 3, 3, 5, 5}));
  }
}

TEST_CASE("an output of empty partitions needs no data file, any other does") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 0, 0})));
  const auto empty = inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index");
  REQUIRE(empty);
  CHECK(empty->total_bytes == 0);
  CHECK(MapOutputReader::open(*io, *empty));
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 4})));
  CHECK(inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index").error().code ==
        Code::kNotFound);
}

TEST_CASE("a directory with foreign names is refused by name") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  for (const char* bad : {"foo", "01", "99999999999", "-1"}) {
    REQUIRE(io->make_directories(dir / "x"));
    write(*io, dir / "x/0", "a");
    write(*io, (dir / "x/") + bad, "a");
    const auto output = inspect_directory(*io, kShuffle, kMap, dir / "x");
    REQUIRE_FALSE(output);
    CHECK(output.error().message.find(bad) != std::string::npos);
    REQUIRE(io->remove_tree(dir / "x"));
  }
  REQUIRE(io->make_directories(dir / "x/3"));
  CHECK(inspect_directory(*io, kShuffle, kMap, dir / "x")
            .error()
            .message.find("not a regular file") != std::string::npos);
}

TEST_CASE("a data file that shrank after its commit is noticed") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  write(*io, dir / "5.data", "aaacc");
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 3, 5})));
  const auto output = inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index");
  REQUIRE(output);
  auto reader = MapOutputReader::open(*io, *output);
  REQUIRE((*io->open(dir / "5.data", OpenMode::kWriteCreate))->truncate(4));
  std::string block(2, ' ');
  CHECK(reader->read(PartitionId{1}, 0, std::as_writable_bytes(std::span(block))).error().code ==
        Code::kCorruptData);
  CHECK(MapOutputReader::open(*io, *output).error().code == Code::kCorruptIndex);
}

}  // namespace shufflefs::merge
