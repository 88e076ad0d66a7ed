#include "merge/partition_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "base/crc32c.h"
#include "base/endian.h"

namespace shufflefs::merge {
namespace {

constexpr std::string_view kMagic = "SFSINDEX";
constexpr uint32_t kVersion = 2;
constexpr std::size_t kKindAt = 48;
constexpr uint32_t kBlock = 0;
constexpr uint32_t kRemoval = 1;
constexpr std::size_t kCrcAt = kIndexRecordBytes - sizeof(uint32_t);

void seal(IndexBytes& bytes) {
  store_le(bytes.data() + kCrcAt, crc32c(std::span(bytes).first(kCrcAt)));
}

bool is_sealed(std::span<const std::byte> bytes) {
  return load_le<uint32_t>(bytes.data() + kCrcAt) == crc32c(bytes.first(kCrcAt));
}

}  // namespace

IndexBytes encode_index_header(ShuffleId shuffle, PartitionId partition, uint64_t life) {
  IndexBytes bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  store_le(bytes.data() + 8, kVersion);
  store_le(bytes.data() + 12, static_cast<uint32_t>(kIndexRecordBytes));
  store_le(bytes.data() + 16, number(shuffle));
  store_le(bytes.data() + 20, number(partition));
  store_le(bytes.data() + 24, life);
  seal(bytes);
  return bytes;
}

IndexBytes encode_index_record(const IndexRecord& record) {
  IndexBytes bytes{};
  store_le(bytes.data(), number(record.map));
  store_le(bytes.data() + 8, record.offset);
  store_le(bytes.data() + 16, record.length);
  store_le(bytes.data() + 24, record.id.commit);
  store_le(bytes.data() + 32, number(record.id.origin));
  store_le(bytes.data() + 40, record.segment);
  store_le(bytes.data() + 44, record.crc);
  store_le(bytes.data() + kKindAt, record.removal ? kRemoval : kBlock);
  seal(bytes);
  return bytes;
}

Result<ParsedIndex> parse_index(std::span<const std::byte> bytes, ShuffleId shuffle,
                                PartitionId partition, uint64_t life, const std::string& name) {
  const IndexBytes expected = encode_index_header(shuffle, partition, life);
  if (bytes.size() < expected.size() ||
      !std::equal(expected.begin(), expected.end(), bytes.begin())) {
    return make_error(
        Code::kCorruptIndex,
        fmt::format(
            "{} does not begin with the header of partition {} of life {} of shuffle {} (format "
            "version {})",
            name, number(partition), life, number(shuffle), kVersion));
  }
  ParsedIndex parsed;
  parsed.valid_bytes = kIndexRecordBytes;
  for (bytes = bytes.subspan(kIndexRecordBytes); !bytes.empty();
       bytes = bytes.subspan(kIndexRecordBytes)) {
    if (bytes.size() < kIndexRecordBytes) {
      parsed.cut_reason = fmt::format("a torn record of {} bytes", bytes.size());
      break;
    }
    if (!is_sealed(bytes.first(kIndexRecordBytes))) {
      parsed.cut_reason = "a record with a wrong checksum";
      break;
    }
    const IndexRecord record{
        .map = static_cast<MapId>(load_le<uint64_t>(bytes.data())),
        .id = {load_le<uint64_t>(bytes.data() + 24),
               static_cast<NodeTag>(load_le<uint64_t>(bytes.data() + 32))},
        .offset = load_le<uint64_t>(bytes.data() + 8),
        .length = load_le<uint64_t>(bytes.data() + 16),
        .segment = load_le<uint32_t>(bytes.data() + 40),
        .crc = load_le<uint32_t>(bytes.data() + 44),
        .removal = load_le<uint32_t>(bytes.data() + kKindAt) == kRemoval,
    };
    const bool known_kind = record.removal || load_le<uint32_t>(bytes.data() + kKindAt) == kBlock;
    if (!known_kind || number(record.map) > kMaxMapId || (record.length == 0) != record.removal ||
        record.offset > UINT64_MAX - record.length) {
      parsed.cut_reason = "a record with impossible numbers";
      break;
    }
    parsed.records.push_back(record);
    parsed.valid_bytes += kIndexRecordBytes;
  }
  return parsed;
}

}  // namespace shufflefs::merge
