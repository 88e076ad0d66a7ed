#include "merge/partition_index.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

namespace shufflefs::merge {
namespace {

constexpr ShuffleId kShuffle{3};
constexpr PartitionId kPartition{7};

std::vector<std::byte> index_with(const std::vector<IndexRecord>& records) {
  const IndexBytes header = encode_index_header(kShuffle, kPartition);
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const IndexRecord& record : records) {
    const IndexBytes encoded = encode_index_record(record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  return bytes;
}

const std::vector<IndexRecord> kRecords = {
    {MapId{1}, 0, 10, 0, 0xABCD}, {MapId{kMaxMapId}, 10, 1, 0, 1}, {MapId{0}, 0, 5, 1, 2}};

}  // namespace

TEST_CASE("an index is read back as it was written") {
  const auto parsed = parse_index(index_with(kRecords), kShuffle, kPartition, "i");
  REQUIRE(parsed);
  CHECK(parsed->records == kRecords);
  CHECK(parsed->valid_bytes == 4 * kIndexRecordBytes);
  CHECK(parsed->cut_reason.empty());
}

TEST_CASE("an index cut at any byte keeps its whole records") {
  const auto bytes = index_with(kRecords);
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    const auto parsed = parse_index(std::span(bytes).first(length), kShuffle, kPartition, "i");
    if (length < kIndexRecordBytes) {
      CHECK_FALSE(parsed);
      continue;
    }
    REQUIRE(parsed);
    CHECK(parsed->records.size() == length / kIndexRecordBytes - 1);
    CHECK(parsed->cut_reason.empty() == (length % kIndexRecordBytes == 0));
  }
}

TEST_CASE("any flipped bit cuts the index there or is an error") {
  const auto bytes = index_with(kRecords);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const auto parsed = parse_index(damaged, kShuffle, kPartition, "i");
    const std::size_t record = bit / 8 / kIndexRecordBytes;
    if (record == 0) {
      CHECK_FALSE(parsed);
      continue;
    }
    REQUIRE(parsed);
    CHECK(parsed->records.size() == record - 1);
    CHECK_FALSE(parsed->cut_reason.empty());
  }
}

TEST_CASE("an index of another partition is not taken") {
  CHECK_FALSE(parse_index(index_with(kRecords), kShuffle, PartitionId{8}, "i"));
  CHECK_FALSE(parse_index(index_with(kRecords), ShuffleId{4}, kPartition, "i"));
}

TEST_CASE("sealed records with impossible numbers are cut") {
  CHECK(parse_index(index_with({{MapId{1}, 0, 0, 0, 0}}), kShuffle, kPartition, "i")
            ->records.empty());
  CHECK(parse_index(index_with({{MapId{1}, UINT64_MAX - 1, 2, 0, 0}}), kShuffle, kPartition, "i")
            ->records.empty());
  CHECK(parse_index(index_with({{MapId{kMaxMapId + 1}, 0, 2, 0, 0}}), kShuffle, kPartition, "i")
            ->records.empty());
}

}  // namespace shufflefs::merge
