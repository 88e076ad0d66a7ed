#include "merge/merged_partition.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <random>
#include <thread>

#include "base/crc32c.h"
#include "support/faulty_io.h"
#include "support/temp_dir.h"

namespace shufflefs::merge {
namespace {

constexpr ShuffleId kShuffle{0};
constexpr PartitionId kPartition{4};
enum class Appended { kMerged, kDuplicate, kOver };

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Fixture {
  testing::TempDir dir;
  std::unique_ptr<FileIo> io = make_posix_file_io();
  std::string base = dir / "4";
  std::shared_ptr<ShuffleCommits> commits = std::make_shared<ShuffleCommits>();
  // One for each open(): a partition that is opened again shall see what is on the disk.
  std::vector<std::unique_ptr<OpenFiles>> files;

  std::unique_ptr<MergedPartition> open(MergedPartitionOptions options = {}) {
    for (const auto& before : files) before->stop_holding();
    files.push_back(std::make_unique<OpenFiles>(*io, 16));
    auto partition = std::make_unique<MergedPartition>(*io, *files.back(), base, kShuffle,
                                                       kPartition, std::move(options), commits);
    REQUIRE(partition->load());
    return partition;
  }
  static MergedPartition::Block block(uint64_t map, std::string_view text, uint64_t commit = 1) {
    return {static_cast<MapId>(map), {commit, NodeTag{1}}, crc32c(bytes_of(text)), bytes_of(text)};
  }
  static MapCommit commit_of(uint64_t map, uint64_t commit = 1) {
    return {static_cast<MapId>(map), {commit, NodeTag{1}}};
  }
  static Appended append(MergedPartition& partition, uint64_t map, std::string_view text,
                         uint64_t commit = 1) {
    const auto appended = partition.append(std::array{block(map, text, commit)});
    REQUIRE(appended);
    REQUIRE(appended->merged + appended->duplicates + appended->over == 1);
    if (appended->over == 1) return Appended::kOver;
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
    commits->remove(commit_of(7));
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

// The kernel keeps the file while another process takes the partition over.
TEST_CASE_METHOD(Fixture, "a file opened for passthrough does not grow after a kill either") {
  auto partition = open();
  append(*partition, 1, "one");
  append(*partition, 2, "two");
  const auto fd = partition->seal_for_passthrough(6);
  REQUIRE(fd);
  // As a kill leaves it: what was only in memory is lost.
  testing::TempDir killed;
  std::filesystem::copy(dir.path(), killed.path(), std::filesystem::copy_options::recursive);
  partition = nullptr;
  for (const auto& before : files) before->stop_holding();
  std::filesystem::copy_file(killed / "4.index", dir / "4.index",
                             std::filesystem::copy_options::overwrite_existing);
  partition = open();
  CHECK(read(*partition) == "onetwo");
  append(*partition, 3, "three");
  REQUIRE(partition->flush());
  std::string text(100, ' ');
  REQUIRE(::pread(fd->get(), text.data(), text.size(), 0) == 6);
  CHECK(text.substr(0, 6) == "onetwo");
  CHECK(read(*open()) == "onetwothree");
}

TEST_CASE_METHOD(
    Fixture, "the block of a removed map output leaves the view, and its map id may come again") {
  const auto partition = open();
  append(*partition, 1, "one");
  append(*partition, 2, "two");
  append(*partition, 3, "three");
  commits->remove(commit_of(2));
  commits->remove(commit_of(9));
  CHECK(read(*partition) == "onethree");
  CHECK_FALSE(partition->seal_for_passthrough(8));
  CHECK(append(*partition, 2, "two") == Appended::kOver);
  CHECK(append(*partition, 2, "zwei", 2) == Appended::kMerged);
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
  options.place_segment = [this](uint32_t, bool) { return dir / "other/4"; };
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
    commits->remove(commit_of(1));
    CHECK(read(*partition) == "two");
  }
  CHECK(read(*open()) == "two");
  {
    const auto partition = open();
    CHECK(append(*partition, 1, "one") == Appended::kOver);
    append(*partition, 1, "uno", 2);
    CHECK(read(*partition) == "twouno");
  }
  // Loaded again while the removal is known: it is one of the earlier commit.
  CHECK(read(*open()) == "twouno");
  commits = std::make_shared<ShuffleCommits>();
  const auto partition = open();
  CHECK(read(*partition) == "twouno");
  CHECK(append(*partition, 1, "one") == Appended::kOver);
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
    // A page of the index is 73 records.
    CHECK(partition.blocks() >= 300 - 74);
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

// ---- commits -------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture, "a later commit takes the place of the earlier one, never the reverse") {
  const auto partition = open();
  append(*partition, 1, "one", 5);
  append(*partition, 2, "two", 5);
  CHECK(append(*partition, 1, "later", 7) == Appended::kMerged);
  CHECK(read(*partition) == "twolater");
  CHECK_FALSE(partition->seal_for_passthrough(8));
  CHECK(append(*partition, 1, "one", 5) == Appended::kOver);
  CHECK(append(*partition, 1, "between", 6) == Appended::kOver);
  CHECK(append(*partition, 1, "later", 7) == Appended::kDuplicate);
  CHECK(partition->contains(commit_of(1, 7)));
  CHECK_FALSE(partition->contains(commit_of(1, 5)));
  CHECK((*partition->view())[1].id == commit_of(1, 7).id);
  commits = std::make_shared<ShuffleCommits>();
  CHECK(read(*open()) == "twolater");
}

TEST_CASE_METHOD(Fixture, "both commits of a map output in one push: the later one") {
  const auto partition = open();
  const auto counts =
      partition->append(std::array{block(1, "later", 7), block(2, "two"), block(1, "one", 5)});
  REQUIRE(counts);
  CHECK(counts->merged == 2);
  CHECK(counts->over == 1);
  CHECK(read(*partition) == "latertwo");
}

TEST_CASE_METHOD(Fixture, "what one partition of a shuffle learns the others know") {
  const auto open_other = [&] {
    files.push_back(std::make_unique<OpenFiles>(*io, 16));
    auto partition = std::make_unique<MergedPartition>(
        *io, *files.back(), dir / "5", kShuffle, PartitionId{5}, MergedPartitionOptions{}, commits);
    REQUIRE(partition->load());
    return partition;
  };
  {
    const auto partition = open();
    const auto other = open_other();
    append(*partition, 1, "one", 5);
    append(*other, 1, "eins", 5);
    append(*other, 1, "uno", 7);
    CHECK(partition->blocks() == 0);
    CHECK(append(*partition, 1, "one", 5) == Appended::kOver);
    append(*partition, 2, "two", 5);
    REQUIRE(other->flush());
  }
  // From the disk: partition 4 first, which has never heard of commit 7 of map 2.
  commits = std::make_shared<ShuffleCommits>();
  const auto partition = open();
  CHECK(partition->blocks() == 1);
  {
    OpenFiles once(*io, 16);
    MergedPartition writer(*io, once, dir / "6", kShuffle, PartitionId{6});
    REQUIRE(writer.load());
    append(writer, 2, "deux", 7);
    REQUIRE(writer.flush());
  }
  files.push_back(std::make_unique<OpenFiles>(*io, 16));
  MergedPartition third(*io, *files.back(), dir / "6", kShuffle, PartitionId{6}, {}, commits);
  REQUIRE(third.load());
  CHECK(partition->blocks() == 0);
  CHECK(third.blocks() == 1);
}

TEST_CASE_METHOD(Fixture, "all commits of an origin up to a number are over, also later ones") {
  const auto partition = open();
  append(*partition, 1, "one", 5);
  append(*partition, 2, "two", 9);
  commits->end_range(NodeTag{2}, {1, 100});
  CHECK(partition->blocks() == 2);
  commits->end_range(NodeTag{1}, {1, 7});
  CHECK(read(*partition) == "two");
  CHECK(append(*partition, 3, "three", 7) == Appended::kOver);
  CHECK(append(*partition, 3, "three", 8) == Appended::kMerged);
}

TEST_CASE_METHOD(Fixture, "a removal that could not be written counts, and is written later") {
  testing::FaultyIo faulty;
  {
    OpenFiles opened(faulty, 16);
    opened.stop_holding();
    MergedPartition partition(faulty, opened, base, kShuffle, kPartition, {}, commits);
    REQUIRE(partition.load());
    append(partition, 1, "one");
    append(partition, 2, "two");
    commits->remove(commit_of(1));
    faulty.fail_writes_below[dir.path()] = EIO;
    CHECK(read(partition) == "two");
    CHECK(append(partition, 1, "one") == Appended::kOver);
    faulty.fail_writes_below.clear();
    CHECK(read(partition) == "two");
  }
  commits = std::make_shared<ShuffleCommits>();
  CHECK(read(*open()) == "two");
}

TEST_CASE_METHOD(Fixture, "a damaged block does not take the removals behind it along") {
  {
    const auto partition = open();
    append(*partition, 1, "one");
    append(*partition, 2, "two");
    append(*partition, 3, "three");
    commits->remove(commit_of(1));
    CHECK(read(*partition) == "twothree");
    REQUIRE(partition->flush());
  }
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->truncate(8));
  for (int i = 0; i < 2; ++i) {  // and again, from the index as it is then
    commits = std::make_shared<ShuffleCommits>();
    CHECK(read(*open()) == "two");
  }
}

// ---- data that was cut or lost ---------------------------------------------------------------------------------------

TEST_CASE_METHOD(Fixture, "a file that is cut while it is in use is an error of its reads") {
  const auto partition = open();
  append(*partition, 1, std::string(5000, 'a'));
  append(*partition, 2, std::string(5000, 'b'));
  REQUIRE(partition->flush());
  REQUIRE((*io->open(base + ".data", OpenMode::kWriteCreate))->truncate(7000));
  std::string text(10'000, ' ');
  const auto cut = partition->read(0, std::as_writable_bytes(std::span(text)));
  REQUIRE_FALSE(cut);
  CHECK(cut.error().code == Code::kCorruptData);
}

TEST_CASE_METHOD(Fixture, "an earlier segment that was cut loses its blocks, the others stay") {
  MergedPartitionOptions options;
  options.split_bytes = 10;
  options.verify = GENERATE(true, false);
  {
    const auto partition = open(options);
    for (uint64_t map = 0; map < 5; ++map) append(*partition, map, "number" + std::to_string(map));
    REQUIRE(partition->flush());
  }
  REQUIRE((*io->open(base + ".1.data", OpenMode::kWriteCreate))->truncate(3));
  for (int i = 0; i < 2; ++i) {
    const auto partition = open(options);
    CHECK(read(*partition) == "number0number2number3number4");
    CHECK_FALSE(partition->contains(commit_of(1)));
  }
  // Its origin pushes it again.
  CHECK(append(*open(options), 1, "number1") == Appended::kMerged);
  CHECK(read(*open(options)) == "number0number2number3number4number1");
}

TEST_CASE_METHOD(Fixture, "a segment that is not there is left out, and counts when it is back") {
  MergedPartitionOptions options;
  options.split_bytes = 10;
  {
    const auto partition = open(options);
    for (uint64_t map = 0; map < 3; ++map) append(*partition, map, "number" + std::to_string(map));
    REQUIRE(partition->flush());
  }
  const std::string segment = base + (GENERATE(true, false) ? ".1.data" : ".2.data");
  const std::string all = "number0number1number2";
  REQUIRE(io->rename(segment, dir / "away"));
  {
    const auto partition = open(options);
    CHECK(partition->blocks() == 2);
    CHECK(read(*partition).size() == 14);
    CHECK(append(*partition, 3, "number3") == Appended::kMerged);
    CHECK(read(*partition).ends_with("number3"));
    CHECK_FALSE(io->stat(segment));
  }
  CHECK(open(options)->blocks() == 3);
  REQUIRE(io->rename(dir / "away", segment));
  CHECK(read(*open(options)) == all + "number3");
}

TEST_CASE_METHOD(Fixture, "reading chooses no place for a segment") {
  MergedPartitionOptions options;
  options.split_bytes = 5;
  std::vector<bool> begins;
  options.place_segment = [&](uint32_t, bool begin) {
    begins.push_back(begin);
    return base;
  };
  const auto partition = open(options);
  append(*partition, 1, "first");
  CHECK(begins.empty());
  append(*partition, 2, "second");
  CHECK(std::ranges::count(begins, true) == 1);
  begins.clear();
  CHECK(read(*partition) == "firstsecond");
  REQUIRE(partition->flush());
  CHECK(read(*open(options)) == "firstsecond");
  CHECK(std::ranges::count(begins, true) == 0);
}

TEST_CASE_METHOD(Fixture, "a commit that ends while its blocks are written is not in the view") {
  const auto partition = open();
  std::vector<std::thread> threads;
  for (uint64_t commit = 1; commit <= 8; ++commit) {
    threads.emplace_back([&, commit] {
      for (uint64_t map = 0; map < 50; ++map) {
        const std::string text = std::to_string(map) + "/" + std::to_string(commit) + ";";
        (void)partition->append(std::array{block(map, text, commit)});
        if (map % 10 == commit) commits->remove(commit_of(map, 8));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto check = [&](MergedPartition& merged) {
    const std::string all = read(merged);
    for (const MergedBlock& one : *merged.view()) {
      CHECK(all.substr(one.offset, one.length) ==
            std::to_string(number(one.map)) + "/" + std::to_string(one.id.commit) + ";");
      CHECK(commits->is_current({one.map, one.id}));
    }
  };
  check(*partition);
  const std::string all = read(*partition);
  CHECK(read(*open()) == all);
}

}  // namespace shufflefs::merge
