#include "merge/table_records.h"

#include "merge/record_archive.h"

namespace shufflefs::merge {
namespace {

template <class Archive>
void stamp(Archive& archive, FileStamp& value) {
  archive.number(value.inode);
  archive.number(value.size);
  archive.number(value.modified_ns);
}

template <class Archive>
void owner(Archive& archive, FileOwner& value) {
  integer(archive, value.uid);
  integer(archive, value.gid);
}

template <class Archive>
void fields(Archive& archive, CommittedRecord& record) {
  MapOutput& output = record.output;
  map_id(archive, output.map);
  archive.number(output.commit);
  archive.number(output.life);
  bool is_directory = output.form == MapOutput::Form::kDirectory;
  flag(archive, is_directory);
  output.form = is_directory ? MapOutput::Form::kDirectory : MapOutput::Form::kFiles;
  owner(archive, output.owner);
  integer(archive, output.partition_count, kMaxPartitions);
  archive.number(output.total_bytes);
  archive.text(output.data_path);
  archive.text(output.index_path);
  stamp(archive, output.data_stamp);
  stamp(archive, output.index_stamp);
}

template <class Archive>
void fields(Archive& archive, EndedRecord& record) {
  map_id(archive, record.map);
  archive.number(record.commit);
  flag(archive, record.files_remain);
}

template <class Archive>
void fields(Archive& archive, FilesGoneRecord& record) {
  archive.number(record.commit);
}

template <class Archive>
void fields(Archive& archive, HeardRecord& record) {
  AnnouncedMap& announced = record.announced;
  node(archive, record.origin);
  map_id(archive, announced.map);
  archive.number(announced.commit);
  archive.number(announced.life);
  owner(archive, announced.owner);
  integer(archive, announced.partition_count, kMaxPartitions);
  archive.list(announced.ranges, 4, [&](PartitionBits& bits) {
    integer(archive, bits.first, announced.partition_count);
    integer(archive, bits.count, announced.partition_count - bits.first);
    integer(archive, bits.skipped_bytes, bits.count / 8);
    archive.list(bits.non_empty, 1, [&](uint8_t& byte) { integer(archive, byte); });
    if (bits.non_empty.size() + bits.skipped_bytes > (std::size_t{bits.count} + 7) / 8)
      archive.fail();
  });
}

template <class Archive>
void fields(Archive& archive, EndedAtRecord& record) {
  node(archive, record.origin);
  archive.list(record.ranges, 2, [&](CommitRange& range) {
    archive.number(range.first);
    archive.number(range.last);
    if (range.first > range.last) archive.fail();
  });
  archive.list(record.maps, 2, [&](EndedMaps::Ended& ended) {
    map_id(archive, ended.map);
    archive.number(ended.commit);
  });
}

template <class Archive>
void fields(Archive& archive, LifeRecord& record) {
  archive.number(record.life);
}

template <std::size_t i = 0>
bool read_kind(uint64_t kind, RecordReader& reader, TableRecord& record) {
  if constexpr (i < std::variant_size_v<TableRecord>) {
    if (kind != i) return read_kind<i + 1>(kind, reader, record);
    fields(reader, record.emplace<i>());
    return true;
  } else {
    return false;
  }
}

}  // namespace

std::vector<std::byte> encode_record(const TableRecord& record) {
  RecordWriter writer;
  uint64_t kind = record.index();
  writer.number(kind);
  TableRecord copy = record;
  std::visit([&](auto& one) { fields(writer, one); }, copy);
  return writer.take();
}

Result<TableRecord> decode_record(std::span<const std::byte> bytes) {
  RecordReader reader(bytes);
  uint64_t kind = 0;
  reader.number(kind);
  TableRecord record;
  if (!read_kind(kind, reader, record) || !reader.is_whole())
    return make_error(Code::kCorruptData, "this is no record of a shuffle's log");
  return record;
}

}  // namespace shufflefs::merge
