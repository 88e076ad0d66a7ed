#include "merge/table_records.h"

#include <limits>
#include <type_traits>

#include "base/endian.h"

namespace shufflefs::merge {
namespace {

// One list of fields for writing and reading: `fields` calls the archive with each field in order.
// A number is a variable-length integer (7 bits a byte, low first), a text its length and bytes.
class Writer {
 public:
  void number(uint64_t& value) {
    uint64_t left = value;
    for (; left >= 0x80; left >>= 7U) bytes_.push_back(static_cast<std::byte>(left | 0x80U));
    bytes_.push_back(static_cast<std::byte>(left));
  }
  void text(std::string& value) {
    uint64_t size = value.size();
    number(size);
    const auto* from = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), from, from + value.size());
  }
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t /*min_bytes*/, Each each) {
    uint64_t size = values.size();
    number(size);
    for (T& value : values) each(value);
  }
  void fail() {}
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  void number(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return fail();
      const auto byte = std::to_integer<uint64_t>(left_.front());
      left_ = left_.subspan(1);
      if (shift == 63 && byte > 1) return fail();
      value |= (byte & 0x7FU) << shift;
      if (byte == 0 && shift > 0) return fail();  // longer than it need be
      if (byte < 0x80) return;
    }
    fail();
  }
  void text(std::string& value) {
    uint64_t size = 0;
    number(size);
    if (size > left_.size()) return fail();
    value.assign(reinterpret_cast<const char*>(left_.data()), size);
    left_ = left_.subspan(size);
  }
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t min_bytes, Each each) {
    uint64_t size = 0;
    number(size);
    if (size > left_.size() / min_bytes) return fail();
    values.resize(size);
    for (T& value : values) each(value);
  }
  void fail() {
    failed_ = true;
    left_ = {};
  }
  [[nodiscard]] bool is_whole() const { return !failed_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool failed_ = false;
};

template <class Archive, class T>
void integer(Archive& archive, T& value, uint64_t max = std::numeric_limits<T>::max()) {
  auto wide = static_cast<uint64_t>(value);
  archive.number(wide);
  if (wide > max) return archive.fail();
  value = static_cast<T>(wide);
}

template <class Archive>
void flag(Archive& archive, bool& value) {
  uint8_t byte = value ? 1 : 0;
  integer(archive, byte, 1);
  value = byte != 0;
}

template <class Archive>
void map_id(Archive& archive, MapId& map) {
  uint64_t value = number(map);
  integer(archive, value, kMaxMapId);
  map = static_cast<MapId>(value);
}

template <class Archive>
void node(Archive& archive, NodeName& name) {
  std::string text = name.str();
  archive.text(text);
  auto parsed = NodeName::parse(text);
  if (!parsed) return archive.fail();
  name = std::move(*parsed);
}

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
bool read_kind(uint64_t kind, Reader& reader, TableRecord& record) {
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
  Writer writer;
  uint64_t kind = record.index();
  writer.number(kind);
  TableRecord copy = record;
  std::visit([&](auto& one) { fields(writer, one); }, copy);
  return writer.take();
}

Result<TableRecord> decode_record(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  uint64_t kind = 0;
  reader.number(kind);
  TableRecord record;
  if (!read_kind(kind, reader, record) || !reader.is_whole())
    return make_error(Code::kCorruptData, "this is no record of a shuffle's log");
  return record;
}

}  // namespace shufflefs::merge
