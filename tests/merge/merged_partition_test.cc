#include "merge/merged_partition.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <random>
#include <thread>

#include "base/crc32c.h"
#include "support/faulty_io.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

constexpr ShuffleId kShuffle{0};
constexpr PartitionId kPartition{4};
enum class Appended { kMerged, kDuplicate };

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Fixture {
  testing::TempDir dir;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  std::string base = dir / "4";
  std::shared_ptr<ForgottenMaps> forgotten = std::make_shared<ForgottenMaps>();
  // One for each open(): a partition that is opened again shall see what is on the disk.
  std::vector<std::unique_ptr<OpenFiles>> files;

  std::unique_ptr<MergedPartition> open(MergedPartitionOptions options = {}) {
    for (const auto& before : files) before->stop_holding();
    files.push_back(std::make_unique<OpenFiles>(*io, 16));
    auto partition = std::make_unique<MergedPartition>(*io, *files.back(), base, kShuffle,
                                                       kPartition, std::move(options), forgotten);
    REQUIRE(partition->load());
    return partition;
  }
  static MergedPartition::Block block(uint64_t map, std::string_view text) {
    return {static_cast<MapId>(map), crc32c(bytes_of(text)), bytes_of(text)};
  }
  static Appended append(MergedPartition& partition, uint64_t map, std::string_view text) {
    const auto appended = partition.append(std::array{block(map, text)});
    REQUIRE(appended);
    REQUIRE(appended->merged + appended->duplicates == 1);
    return appended->merged == 1 ? Appended::kMerged : Appended::kDuplicate;
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
  const auto view = *partition->view();
  REQUIRE(view.size() == 2);
  CHECK(view[1].offset == 5);
  CHECK(view[1].map == MapId{3});
  CHECK(view[1].crc == crc32c(bytes_of("three")));
  std::string piece(4, ' ');
  REQUIRE(partition->read(3, std::as_writable_bytes(std::span(piece))));
  CHECK(piece == "enth");
  CHECK_FALSE(partition->read(8, std::as_writable_bytes(std::span(piece))));
}

TEST_CASE_METHOD(Fixture, "a small partition's index is not read from the disk again") {
  const auto copies = std::make_shared<HeldBytes>(1 << 20);
  const auto partition = open({.index_copies = copies});
  uint64_t map = 0;
  const auto grow = [&](int blocks) {
    for (int i = 0; i < blocks; ++i) append(*partition, map++, "block");
  };
  grow(200);
  CHECK(copies->now == 201 * kIndexRecordBytes);
  REQUIRE(partition->flush());
  REQUIRE(io->remove_file(base + ".index"));
  files.back()->forget(base + ".index");
  CHECK((*partition->view()).size() == 200);
  SECTION("unless it was given up for its size") {
    grow(2000);
    CHECK(copies->now == 0);
    CHECK_FALSE(partition->view());
  }
  SECTION("and what was removed is not in it") {
    forgotten->add(MapId{7});
    const auto view = *partition->view();
    CHECK(view.size() == 199);
    CHECK(copies->now == 202 * kIndexRecordBytes);
  }
}

TEST_CASE_METHOD(Fixture, "what was allocated ahead is given back, of a sealed file too") {
  const auto partition = open();
  const std::string text(100'000, 'a');
  for (uint64_t map = 0; map < 8; ++map) append(*partition, map, text);
  const auto allocated = [&] {
    struct stat status{};
    REQUIRE(::stat((base + ".data").c_str(), &status) == 0);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  };
  if (allocated() < 900'000) SKIP("this file system does not allocate ahead");
  if (GENERATE(true, false)) REQUIRE(partition->seal_for_passthrough(800'000));
  partition->trim();
  CHECK(allocated() < 900'000);
  CHECK(read(*partition).size() == 800'000);
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
    REQUIRE(partition->flush());
  }
  const auto index = *read_file(*io, base + ".index", 1000);
  for (std::size_t length = kIndexRecordBytes; length < index.size(); ++length) {
    REQUIRE(replace_file(*io, base + ".index", std::span(index).first(length)));
    const auto partition = open();
    CHECK(partition->blocks() == length / kIndexRecordBytes - 1);
    append(*partition, 9, "nine");
    CHECK(read(*open()).ends_with("nine"));
    // Back to the two blocks for the next round.
    files.clear();
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
    REQUIRE(partition->flush());
  }
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->truncate(8));
  CHECK(read(*open()) == "onetwo");
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->write_at(4, bytes_of("X")));
  CHECK(read(*open()) == "one");
}

TEST_CASE_METHOD(Fixture,
                 "an index with a broken header is put aside and the partition begins anew") {
  {
    const auto before = open();
    append(*before, 1, "one");
    REQUIRE(before->flush());
  }
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
  CHECK(partition->seal_for_passthrough(6));  // as often as it is opened
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
  forgotten->add(MapId{2});
  forgotten->add(MapId{9});
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
        (void)partition->append(std::array{block(map, text)});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(partition->blocks() == 400);
  const std::string all = read(*partition);
  for (const MergedBlock& merged : *partition->view()) {
    CHECK(all.substr(merged.offset, merged.length) == std::to_string(number(merged.map)) + ";");
  }
  CHECK(read(*open()) == all);
}

TEST_CASE_METHOD(Fixture, "blocks of several map outputs go in together, doubles are told") {
  const auto partition = open();
  const auto first = partition->append(std::array{block(1, "one"), block(2, "two")});
  REQUIRE(first);
  CHECK(first->merged == 2);
  CHECK(first->merged_bytes == 6);
  const auto second =
      partition->append(std::array{block(2, "two"), block(3, "three"), block(3, "three")});
  REQUIRE(second);
  CHECK(second->merged == 1);
  CHECK(second->duplicates == 2);
  CHECK(read(*partition) == "onetwothree");
  CHECK(read(*open()) == "onetwothree");
}

TEST_CASE_METHOD(Fixture, "a partition above the split goes on in further files, elsewhere") {
  REQUIRE(io->make_directories(dir / "other"));
  MergedPartitionOptions options;
  options.split_bytes = 10;
  options.place_segment = [this](uint32_t) { return dir / "other/4"; };
  const auto partition = open(options);
  for (uint64_t map = 0; map < 5; ++map) append(*partition, map, "sevenxx");
  append(*partition, 5, "longer than the split");
  REQUIRE(partition->flush());
  CHECK(io->stat(base + ".data")->size == 7);
  CHECK(io->stat(dir / "other/4.4.data")->size == 7);
  CHECK(io->stat(dir / "other/4.5.data")->size == 21);
  CHECK(read(*partition) == "sevenxxsevenxxsevenxxsevenxxsevenxxlonger than the split");
  CHECK(read(*open(options)) == read(*partition));
  CHECK_FALSE(partition->seal_for_passthrough(partition->bytes()));
}

TEST_CASE_METHOD(Fixture, "what was removed stays removed after a restart") {
  {
    const auto partition = open();
    append(*partition, 1, "one");
    append(*partition, 2, "two");
    forgotten->add(MapId{1});
    CHECK(read(*partition) == "two");
  }
  CHECK(read(*open()) == "two");
  {
    const auto partition = open();
    append(*partition, 1, "uno");
    CHECK(read(*partition) == "twouno");
  }
  // Loaded again in the same life: the removal is known, and is one of the earlier block.
  CHECK(read(*open()) == "twouno");
  forgotten = std::make_shared<ForgottenMaps>();
  CHECK(read(*open()) == "twouno");
}

TEST_CASE("a killed process takes the last page with it, and no record names what is missing") {
  const testing::TempDir dir;
  testing::FaultyIo io;
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    const std::string base = dir / std::to_string(round);
    std::string all;
    {
      OpenFiles files(io, 16);
      MergedPartition partition(io, files, base, kShuffle, kPartition);
      REQUIRE(partition.load());
      for (uint64_t map = 0; map < 300; ++map) {
        const std::string text(1 + random() % 9000, static_cast<char>('a' + map % 26));
        REQUIRE(partition.append(std::array{Fixture::block(map, text)}));
        all += text;
        if (random() % 100 == 0) REQUIRE(partition.flush());
      }
      // What is in memory does not reach the disk.
      io.fail_writes_below[dir.path()] = EIO;
    }
    io.fail_writes_below.clear();
    OpenFiles files(io, 16);
    // The machine has run on, so that nothing is read again to verify it.
    MergedPartition partition(io, files, base, kShuffle, kPartition, {.verify = false});
    REQUIRE(partition.load());
    // A page of the index is 102 records.
    CHECK(partition.blocks() >= 300 - 103);
    CHECK(Fixture::read(partition) == all.substr(0, partition.bytes()));
    for (const MergedBlock& block : *partition.view())
      CHECK(block.crc == crc32c(bytes_of(all.substr(block.offset, block.length))));
    const uint64_t blocks = partition.blocks();
    REQUIRE(partition.append(std::array{Fixture::block(1000, "next")}));
    CHECK(partition.blocks() == blocks + 1);
    CHECK(Fixture::read(partition).ends_with("next"));
  }
}

TEST_CASE_METHOD(Fixture, "without verification a file that is too short is noticed nevertheless") {
  {
    const auto partition = open();
    append(*partition, 1, "one");
    append(*partition, 2, "two");
    REQUIRE(partition->flush());
  }
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->truncate(4));
  CHECK(read(*open({.verify = false})) == "one");
}

}  // namespace shufflefs::merge
