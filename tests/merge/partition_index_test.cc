#include "merge/partition_index.h"

#include <catch2/catch_test_macros.hpp>

#include "base/crc32c.h"
#include "base/endian.h"
#include "merge/merged_view.h"

namespace shufflefs::merge {
namespace {

constexpr ShuffleId kShuffle{3};
constexpr PartitionId kPartition{7};
constexpr uint64_t kLife = 5;
constexpr CommitId kId{0x1122334455667788, NodeTag{0x99AABBCCDDEEFF00}};

std::vector<std::byte> index_with(const std::vector<IndexRecord>& records) {
  const IndexBytes header = encode_index_header(kShuffle, kPartition, kLife);
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const IndexRecord& record : records) {
    const IndexBytes encoded = encode_index_record(record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  }
  return bytes;
}

const std::vector<IndexRecord> kRecords = {{MapId{1}, kId, 0, 10, 0, 0xABCD},
                                           {MapId{kMaxMapId}, kId, 10, 1, 0, 1},
                                           {MapId{0}, {1, NodeTag{2}}, 0, 5, 1, 2},
                                           {.map = MapId{1}, .id = kId, .removal = true}};

}  // namespace

TEST_CASE("an index is read back as it was written") {
  const auto parsed = parse_index(index_with(kRecords), kShuffle, kPartition, kLife, "i");
  REQUIRE(parsed);
  CHECK(parsed->records == kRecords);
  CHECK(parsed->valid_bytes == 5 * kIndexRecordBytes);
  CHECK(parsed->cut_reason.empty());
}

TEST_CASE("an index cut at any byte keeps its whole records") {
  const auto bytes = index_with(kRecords);
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    const auto parsed =
        parse_index(std::span(bytes).first(length), kShuffle, kPartition, kLife, "i");
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
    const auto parsed = parse_index(damaged, kShuffle, kPartition, kLife, "i");
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
  CHECK_FALSE(parse_index(index_with(kRecords), kShuffle, PartitionId{8}, kLife, "i"));
  CHECK_FALSE(parse_index(index_with(kRecords), ShuffleId{4}, kPartition, kLife, "i"));
}

TEST_CASE("an index of another life, or of the earlier format, is not taken") {
  CHECK_FALSE(parse_index(index_with(kRecords), kShuffle, kPartition, kLife + 1, "i"));
  // Version 1: 40 bytes, its checksum over the first 36.
  std::vector<std::byte> first(40);
  const auto header = index_with({});
  std::copy_n(header.begin(), 24, first.begin());
  store_le(first.data() + 8, uint32_t{1});
  store_le(first.data() + 12, uint32_t{40});
  store_le(first.data() + 36, crc32c(std::span(first).first(36)));
  const auto refused = parse_index(first, kShuffle, kPartition, kLife, "i");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::kCorruptIndex);
}

TEST_CASE("the bytes of a record are those of the documents") {
  const IndexBytes bytes = encode_index_record({MapId{3}, kId, 4, 5, 6, 7});
  CHECK(load_le<uint64_t>(bytes.data()) == 3);
  CHECK(load_le<uint64_t>(bytes.data() + 8) == 4);
  CHECK(load_le<uint64_t>(bytes.data() + 16) == 5);
  CHECK(load_le<uint64_t>(bytes.data() + 24) == kId.commit);
  CHECK(load_le<uint64_t>(bytes.data() + 32) == number(kId.origin));
  CHECK(load_le<uint32_t>(bytes.data() + 40) == 6);
  CHECK(load_le<uint32_t>(bytes.data() + 44) == 7);
  CHECK(load_le<uint32_t>(bytes.data() + 48) == 0);
  const IndexBytes header = encode_index_header(kShuffle, kPartition, kLife);
  CHECK(load_le<uint32_t>(header.data() + 8) == 2);
  CHECK(load_le<uint32_t>(header.data() + 12) == 56);
  CHECK(load_le<uint64_t>(header.data() + 24) == kLife);
}

namespace {

constexpr CommitId at(uint64_t commit, uint64_t origin = 1) {
  return {commit, static_cast<NodeTag>(origin)};
}
IndexRecord block(uint64_t map, CommitId id, uint64_t offset) {
  return {.map = static_cast<MapId>(map), .id = id, .offset = offset, .length = 10};
}
IndexRecord removal(uint64_t map, CommitId id) {
  return {.map = static_cast<MapId>(map), .id = id, .removal = true};
}
std::vector<uint64_t> offsets_of(const std::vector<IndexRecord>& records) {
  std::vector<uint64_t> offsets;
  const MergedView view(records);
  for (const MergedView::Entry& entry : view.entries()) offsets.push_back(entry.record.offset);
  return offsets;
}
using Offsets = std::vector<uint64_t>;

}  // namespace

TEST_CASE("of several commits of a map output the largest counts, wherever it stands") {
  CHECK(offsets_of({block(1, at(5), 0), block(2, at(1), 10), block(1, at(7), 20)}) ==
        Offsets{10, 20});
  CHECK(offsets_of({block(1, at(7), 0), block(2, at(1), 10), block(1, at(5), 20)}) ==
        Offsets{0, 10});
  // The same number of two nodes: the node decides.
  CHECK(offsets_of({block(1, at(5, 9), 0), block(1, at(5, 8), 10)}) == Offsets{0});
  // The same block twice: the last.
  CHECK(offsets_of({block(1, at(5), 0), block(1, at(5), 10)}) == Offsets{10});
}

TEST_CASE("a removal takes out its commit alone, before or behind it, once or twice") {
  CHECK(offsets_of({block(1, at(5), 0), removal(1, at(5)), block(1, at(7), 10)}) == Offsets{10});
  CHECK(offsets_of({removal(1, at(5)), block(1, at(5), 0)}).empty());
  CHECK(offsets_of({block(1, at(5), 0), removal(1, at(5)), removal(1, at(5))}).empty());
  CHECK(offsets_of({block(1, at(7), 0), removal(1, at(5))}) == Offsets{0});
  CHECK(offsets_of({block(1, at(5), 0), block(1, at(7), 10), removal(1, at(7))}) == Offsets{0});
}

TEST_CASE("sealed records with impossible numbers are cut") {
  CHECK(parse_index(index_with({{MapId{1}, kId, 0, 0, 0, 0}}), kShuffle, kPartition, kLife, "i")
            ->records.empty());
  CHECK(parse_index(index_with({{MapId{1}, kId, UINT64_MAX - 1, 2, 0, 0}}), kShuffle, kPartition,
                    kLife, "i")
            ->records.empty());
  CHECK(parse_index(index_with({{MapId{kMaxMapId + 1}, kId, 0, 2, 0, 0}}), kShuffle, kPartition,
                    kLife, "i")
            ->records.empty());
}

}  // namespace shufflefs::merge
