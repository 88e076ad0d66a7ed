#include "merge/merged_partition.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "base/crc32c.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

constexpr ShuffleId kShuffle{0};
constexpr PartitionId kPartition{4};
using Appended = MergedPartition::Appended;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Fixture {
  testing::TempDir dir;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  std::string base = dir / "4";

  std::unique_ptr<MergedPartition> open() {
    auto partition = std::make_unique<MergedPartition>(*io, base, kShuffle, kPartition);
    REQUIRE(partition->load());
    return partition;
  }
  static Appended append(MergedPartition& partition, uint64_t map, std::string_view text) {
    const auto appended =
        partition.append(static_cast<MapId>(map), crc32c(bytes_of(text)), bytes_of(text));
    REQUIRE(appended);
    return *appended;
  }
  static std::string read(MergedPartition& partition) {
    std::string text(partition.bytes(), ' ');
    REQUIRE(partition.read(0, std::as_writable_bytes(std::span(text))));
    return text;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "blocks are appended once and read in the order of the index") {
  const auto partition = open();
  CHECK(append(*partition, 7, "seven") == Appended::kMerged);
  CHECK(append(*partition, 3, "three") == Appended::kMerged);
  CHECK(append(*partition, 7, "seven") == Appended::kDuplicate);
  CHECK(read(*partition) == "seventhree");
  const auto view = partition->view();
  REQUIRE(view.size() == 2);
  CHECK(view[1].offset == 5);
  CHECK(view[1].map == MapId{3});
  CHECK(view[1].crc == crc32c(bytes_of("three")));
  std::string piece(4, ' ');
  REQUIRE(partition->read(3, std::as_writable_bytes(std::span(piece))));
  CHECK(piece == "enth");
  CHECK_FALSE(partition->read(8, std::as_writable_bytes(std::span(piece))));
}

TEST_CASE_METHOD(Fixture, "a partition is the same after a restart and goes on growing") {
  append(*open(), 1, "one");
  const auto partition = open();
  CHECK(append(*partition, 1, "one") == Appended::kDuplicate);
  append(*partition, 2, "two");
  CHECK(read(*open()) == "onetwo");
}

TEST_CASE_METHOD(Fixture, "a torn index is cut back to its last whole record, at every byte") {
  {
    const auto partition = open();
    append(*partition, 1, "one");
    append(*partition, 2, "two");
  }
  const auto index = *read_file(*io, base + ".index", 1000);
  for (std::size_t length = kIndexRecordBytes; length < index.size(); ++length) {
    REQUIRE(replace_file(*io, base + ".index", std::span(index).first(length)));
    const auto partition = open();
    CHECK(partition->blocks() == length / kIndexRecordBytes - 1);
    append(*partition, 9, "nine");
    CHECK(read(*open()).ends_with("nine"));
    // Back to the two blocks for the next round.
    REQUIRE(io->remove_file(base + ".data"));
    REQUIRE(replace_file(*io, base + ".data", bytes_of("onetwo")));
  }
}

TEST_CASE_METHOD(Fixture, "records beyond the data, or whose bytes are wrong, are cut off") {
  {
    const auto partition = open();
    append(*partition, 1, "one");
    append(*partition, 2, "two");
    append(*partition, 3, "three");
  }
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->truncate(8));
  CHECK(read(*open()) == "onetwo");
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->write_at(4, bytes_of("X")));
  CHECK(read(*open()) == "one");
}

TEST_CASE_METHOD(Fixture,
                 "an index with a broken header is put aside and the partition begins anew") {
  append(*open(), 1, "one");
  REQUIRE(replace_file(*io, base + ".index",
                       bytes_of("this is not an index, but somebody wrote it here nevertheless")));
  const auto partition = open();
  CHECK(partition->blocks() == 0);
  CHECK(io->stat(base + ".index.bad"));
  append(*partition, 1, "uno");
  CHECK(read(*open()) == "uno");
}

TEST_CASE_METHOD(Fixture, "a file opened for passthrough never grows again, the partition does") {
  const auto partition = open();
  append(*partition, 1, "one");
  append(*partition, 2, "two");
  CHECK_FALSE(partition->seal_for_passthrough(5));
  const auto fd = partition->seal_for_passthrough(6);
  REQUIRE(fd);
  append(*partition, 3, "three");
  std::string text(100, ' ');
  const ssize_t n = ::pread(fd->get(), text.data(), text.size(), 0);
  REQUIRE(n == 6);
  CHECK(text.substr(0, 6) == "onetwo");
  CHECK(read(*partition) == "onetwothree");
  CHECK_FALSE(partition->seal_for_passthrough(11));
  CHECK(read(*open()) == "onetwothree");
}

TEST_CASE_METHOD(
    Fixture, "the block of a removed map output leaves the view, and its map id may come again") {
  const auto partition = open();
  append(*partition, 1, "one");
  append(*partition, 2, "two");
  append(*partition, 3, "three");
  partition->forget(MapId{2});
  partition->forget(MapId{9});
  CHECK(read(*partition) == "onethree");
  CHECK_FALSE(partition->seal_for_passthrough(8));
  CHECK(append(*partition, 2, "zwei") == Appended::kMerged);
  CHECK(read(*partition) == "onethreezwei");
  CHECK(read(*open()) == "onethreezwei");
}

TEST_CASE_METHOD(Fixture, "appends from many threads lose and double nothing") {
  const auto partition = open();
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 200; ++i) {
        const uint64_t map = (i * 4 + t) / 2;  // every map is offered twice
        const std::string text = std::to_string(map) + ";";
        (void)partition->append(static_cast<MapId>(map), crc32c(bytes_of(text)), bytes_of(text));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(partition->blocks() == 400);
  const std::string all = read(*partition);
  for (const MergedBlock& block : partition->view()) {
    CHECK(all.substr(block.offset, block.length) == std::to_string(number(block.map)) + ";");
  }
  CHECK(read(*open()) == all);
}

}  // namespace shufflefs::merge
