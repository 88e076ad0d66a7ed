#include "merge/map_output.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
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
  auto directory = inspect_directory(*io, kShuffle, kMap, dir / "5");
  REQUIRE(files);
  REQUIRE(directory);
  REQUIRE(write_block_list(*io, *directory, dir / "lists/5"));
  const std::vector<uint64_t> lengths{3, 0, 2, 0};
  for (const Inspected& inspected : {*files, *directory}) {
    const MapOutput& output = inspected.output;
    CHECK(output.partition_count == 4);
    CHECK(output.total_bytes == 5);
    CHECK(inspected.sizes == BlockSizes(lengths));
    CHECK(check_stamps(*io, output));
    CHECK(*block_lengths(*io, output, 0, 4) == lengths);
    CHECK(*block_lengths(*io, output, 2, 1) == std::vector<uint64_t>{2});
    CHECK(*block_lengths(*io, output, 1, 1) == std::vector<uint64_t>{0});
    CHECK(*block_lengths(*io, output, 99, 1) == std::vector<uint64_t>{0});
    CHECK(*block_lengths(*io, output, 2, 4) == std::vector<uint64_t>{2, 0, 0, 0});
    const auto sizes = read_sizes(*io, output);
    REQUIRE(sizes);
    CHECK(*sizes == BlockSizes(lengths));
    std::string block(1, ' ');
    REQUIRE(read_block(*io, output, PartitionId{2}, 1, std::as_writable_bytes(std::span(block))));
    CHECK(block == "c");
    for (const auto& [partition, offset] :
         std::map<uint32_t, uint64_t>{{0, 3}, {1, 0}, {2, 2}, {3, 0}, {4, 0}, {99, 0}}) {
      const Status refused = read_block(*io, output, static_cast<PartitionId>(partition), offset,
                                        std::as_writable_bytes(std::span(block)));
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == Code::kInvalidArgument);
    }
    CHECK(make_spark_index(*sizes) == index_of({0, 3, 3, 5, 5}));
  }
}

TEST_CASE("an output of empty partitions needs no data file, any other does") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 0, 0})));
  const auto empty = inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index");
  REQUIRE(empty);
  CHECK(empty->output.total_bytes == 0);
  CHECK(check_stamps(*io, empty->output));
  CHECK(read_sizes(*io, empty->output)->partition_count() == 2);
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

TEST_CASE("a data file that shrank, or an index that changed, after its commit is noticed") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  write(*io, dir / "5.data", "aaacc");
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 3, 5})));
  const auto inspected = inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index");
  REQUIRE(inspected);
  const MapOutput& output = inspected->output;
  std::string block(2, ' ');
  const auto code = [&] {
    return read_block(*io, output, PartitionId{1}, 0, std::as_writable_bytes(std::span(block)))
        .error()
        .code;
  };
  REQUIRE((*io->open(dir / "5.data", OpenMode::kWriteCreate))->truncate(4));
  CHECK(code() == Code::kCorruptData);
  CHECK(check_stamps(*io, output).error().code == Code::kCorruptData);
  CHECK(inspect_files(*io, kShuffle, kMap, dir / "5.data", dir / "5.index").error().code ==
        Code::kCorruptIndex);
  REQUIRE(io->remove_file(dir / "5.data"));
  CHECK(code() == Code::kNotFound);
  CHECK(check_stamps(*io, output).error().code == Code::kNotFound);
  // As long as before, but another file.
  REQUIRE(replace_file(*io, dir / "5.index", index_of({0, 2, 5})));
  CHECK(code() == Code::kCorruptData);
  CHECK(read_sizes(*io, output).error().code == Code::kCorruptData);
  CHECK(block_lengths(*io, output, 0, 2).error().code == Code::kCorruptData);
  CHECK(check_stamps(*io, output).error().code == Code::kCorruptData);
}

TEST_CASE("a file of a directory that is cut, exchanged or gone is noticed") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(io->make_directories(dir / "5"));
  write(*io, dir / "5/0", "aaa");
  write(*io, dir / "5/2", "cc");
  auto inspected = inspect_directory(*io, kShuffle, kMap, dir / "5");
  REQUIRE(inspected);
  REQUIRE(write_block_list(*io, *inspected, dir / "lists/5"));
  const MapOutput& output = inspected->output;
  std::string block(2, ' ');
  const auto read = [&](PartitionId partition) {
    return read_block(*io, output, partition, 0, std::as_writable_bytes(std::span(block)));
  };
  REQUIRE(read(PartitionId{2}));
  REQUIRE(check_files(*io, output));
  SECTION("cut") {
    REQUIRE((*io->open(dir / "5/2", OpenMode::kWriteCreate))->truncate(1));
    CHECK(read(PartitionId{2}).error().code == Code::kCorruptData);
    CHECK(check_stamps(*io, output));  // the directory is as it was
  }
  SECTION("another of the same length") {
    write(*io, dir / "5/2", "dd");
    CHECK(read(PartitionId{2}).error().code == Code::kCorruptData);
    CHECK(check_stamps(*io, output).error().code == Code::kCorruptData);
  }
  SECTION("gone") {
    REQUIRE(io->remove_file(dir / "5/2"));
    CHECK(read(PartitionId{2}).error().code == Code::kNotFound);
    CHECK(check_stamps(*io, output).error().code == Code::kCorruptData);
  }
  CHECK_FALSE(check_files(*io, output));
  // What is missed is still known by its length, and the others are read.
  CHECK(*block_lengths(*io, output, 0, 3) == std::vector<uint64_t>{3, 0, 2});
  CHECK(read(PartitionId{0}));
}

TEST_CASE("the list of a directory's blocks is read only as it was written") {
  const testing::TempDir dir;
  const auto io = make_posix_file_io();
  REQUIRE(io->make_directories(dir / "5"));
  write(*io, dir / "5/1", "aaa");
  write(*io, dir / "5/7", "");
  auto inspected = inspect_directory(*io, kShuffle, kMap, dir / "5");
  REQUIRE(inspected);
  REQUIRE(write_block_list(*io, *inspected, dir / "lists/5"));
  CHECK(read_sizes(*io, inspected->output)->partition_count() == 8);
  const auto bytes = *read_file(*io, dir / "lists/5", 1000);
  MapOutput output = inspected->output;
  output.partition_count = 1;  // it is not of this output
  CHECK(read_sizes(*io, output).error().code == Code::kCorruptData);
  output = inspected->output;
  for (const uint64_t total : {0U, 2U, 4U}) {
    output.total_bytes = total;
    CHECK(read_sizes(*io, output).error().code == Code::kCorruptData);
  }
  output = inspected->output;
  // Whoever writes it anew behind our back, and keeps the stamp, still has the checksum against it.
  for (std::size_t at = 12; at < bytes.size(); ++at) {
    auto wrong = bytes;
    wrong[at] ^= std::byte{1};
    REQUIRE(replace_file(*io, dir / "lists/5", wrong));
    CHECK(read_sizes(*io, output).error().code == Code::kCorruptData);
    output.index_stamp = io->stat(dir / "lists/5")->stamp;
    CHECK(read_sizes(*io, output).error().code == Code::kCorruptData);
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE(replace_file(*io, dir / "lists/5", std::span(bytes).first(size)));
    output.index_stamp = io->stat(dir / "lists/5")->stamp;
    CHECK_FALSE(read_sizes(*io, output));
    (void)block_lengths(*io, output, 0, 8);
  }
  // An output without a byte has a list too.
  REQUIRE(io->make_directories(dir / "6"));
  auto empty = inspect_directory(*io, kShuffle, kMap, dir / "6");
  REQUIRE(empty);
  REQUIRE(write_block_list(*io, *empty, dir / "lists/6"));
  CHECK(*read_sizes(*io, empty->output) == BlockSizes());
}

}  // namespace shufflefs::merge
