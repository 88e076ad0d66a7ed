#include "sim/merged_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/parse.h"
#include "merge/partition_index.h"

namespace shufflefs::sim {
namespace {

constexpr std::string_view kIndexSuffix = ".index";

// "/n1/d0/merged/..." without its disk: the further segments of a partition may be on any.
std::string without_disk(const std::string& path) {
  const std::size_t disk = path.find('/', 1);
  return path.substr(0, disk) + path.substr(path.find('/', disk + 1));
}

// "<dir>/<p>.data" and "<dir>/<p>.3.data" are parts of "<dir>/<p>".
std::string base_of(const std::string& path) {
  return without_disk(path.substr(0, path.find('.', path.rfind('/'))));
}

// The files that may be this segment of the partition.
std::vector<const std::vector<std::byte>*> segment_files(const SimDisk& disk,
                                                         const std::string& base,
                                                         uint32_t segment) {
  if (segment == 0) return {disk.peek(base + ".data")};
  std::vector<const std::vector<std::byte>*> files;
  const std::string name = fmt::format("{}.{}.data", without_disk(base), segment);
  for (const std::string& path : disk.files_below(base.substr(0, base.find('/', 1)))) {
    if (path.ends_with(".data") && without_disk(path) == name) files.push_back(disk.peek(path));
  }
  return files;
}

}  // namespace

std::optional<MergedCheck::Place> MergedCheck::place_of(const std::string& path) {
  const std::size_t merged = path.find("/merged/");
  if (merged == std::string::npos || !path.ends_with(kIndexSuffix)) return std::nullopt;
  const std::string_view below = std::string_view(path).substr(merged + 8);
  const std::size_t slash = below.rfind('/');
  const auto shuffle = merge::parse_shuffle_key(below.substr(0, slash));
  const auto partition = merge::parse_partition_id(
      below.substr(slash + 1, below.size() - slash - 1 - kIndexSuffix.size()));
  if (!shuffle || !partition) return std::nullopt;
  return Place{*shuffle, *partition, path.substr(0, path.size() - kIndexSuffix.size())};
}

std::optional<std::string> MergedCheck::check_record(const SimDisk& disk, const Place& place,
                                                     std::span<const std::byte> bytes) {
  const auto map = static_cast<merge::MapId>(load_le<uint64_t>(bytes.data()));
  const auto offset = load_le<uint64_t>(bytes.data() + 8);
  const auto length = load_le<uint64_t>(bytes.data() + 16);
  const auto segment = load_le<uint32_t>(bytes.data() + 24);
  const auto complain = [&](std::string_view what) {
    return fmt::format("{}.index: the record of map {} (segment {}, offset {}, length {}) {}",
                       place.base, number(map), segment, offset, length, what);
  };
  const auto writings = truth_.find(place.shuffle, map);
  if (writings.empty()) return complain("names a map output that was never written");
  if (load_le<uint32_t>(bytes.data() + 32) == 1) {  // a removal
    const bool was_removed = std::ranges::any_of(
        writings, [](const WrittenMap* w) { return w->removed_at || w->uncertain; });
    if (!was_removed) return complain("takes out a map output that is there");
    return std::nullopt;
  }
  bool is_long_enough = false;
  for (const auto* data : segment_files(disk, place.base, segment)) {
    if (data == nullptr || offset > data->size() || length > data->size() - offset) continue;
    is_long_enough = true;
    const std::string_view block(reinterpret_cast<const char*>(data->data()) + offset, length);
    const bool equal = std::ranges::any_of(writings, [&](const WrittenMap* written) {
      // Of a file that was replaced behind its origin's back nobody has a checksum but who has
      // merged it: pushed once more, its bytes pass for right.
      return Truth::is_block(*written, place.partition, block) || written->is_silent_harm;
    });
    if (equal) return std::nullopt;
  }
  return complain(is_long_enough ? "names bytes that are not the origin's block"
                                 : "names bytes beyond the end of the file");
}

std::optional<std::string> MergedCheck::after_write(const SimDisk& disk, const std::string& path,
                                                    uint64_t offset, uint64_t length) {
  const auto place = place_of(path);
  if (!place || is_excused(place->base)) return std::nullopt;
  const auto* index = disk.peek(path);
  if (index == nullptr) return std::nullopt;  // written through a handle after a drop
  // Record 0 is the header.
  const uint64_t first = std::max<uint64_t>(1, offset / merge::kIndexRecordBytes);
  const uint64_t last = (offset + length) / merge::kIndexRecordBytes;
  for (uint64_t i = first; i < last; ++i) {
    const auto record =
        std::span(*index).subspan(i * merge::kIndexRecordBytes, merge::kIndexRecordBytes);
    if (auto wrong = check_record(disk, *place, record)) return wrong;
    // A map id comes again only if it was removed meanwhile, or was committed twice.
    const auto map = static_cast<merge::MapId>(load_le<uint64_t>(record.data()));
    const auto writings = truth_.find(place->shuffle, map);
    const bool was_removed =
        std::ranges::any_of(writings,
                            [](const WrittenMap* w) { return w->removed_at || w->uncertain; }) ||
        writings.size() > 1;
    for (uint64_t j = 1; j < i && !was_removed; ++j) {
      if (load_le<uint64_t>(index->data() + j * merge::kIndexRecordBytes) == number(map))
        return fmt::format("{}: map {} is in records {} and {}", path, number(map), j, i);
    }
  }
  return std::nullopt;
}

std::optional<std::string> MergedCheck::whole(const SimDisk& disk, const std::string& data_dir) {
  for (const std::string& path : disk.files_below(data_dir + "/merged")) {
    const auto place = place_of(path);
    if (!place || is_excused(place->base)) continue;
    const auto parsed =
        merge::parse_index(*disk.peek(path), place->shuffle.shuffle, place->partition, path);
    // A torn header or record is what a crash leaves; the next use cuts it off.
    if (!parsed) continue;
    for (std::size_t i = 0; i < parsed->records.size(); ++i) {
      const auto bytes = std::span(*disk.peek(path))
                             .subspan((i + 1) * merge::kIndexRecordBytes, merge::kIndexRecordBytes);
      if (auto wrong = check_record(disk, *place, bytes)) return wrong;
    }
  }
  return std::nullopt;
}

bool MergedCheck::holds(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                        const WrittenMap& written, merge::PartitionId partition) const {
  return std::ranges::any_of(data_dirs, [&](const std::string& data_dir) {
    const std::string base =
        fmt::format("{}/merged/{}/{}", data_dir, to_string(written.shuffle), number(partition));
    const auto* index = disk.peek(base + ".index");
    if (index == nullptr) return false;
    if (is_excused(base)) return true;
    const auto parsed = merge::parse_index(*index, written.shuffle.shuffle, partition, base);
    return parsed && std::ranges::any_of(parsed->records, [&](const merge::IndexRecord& record) {
             return record.map == written.map && record.length == written.length(partition);
           });
  });
}

bool MergedCheck::holds_intact(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                               const WrittenMap& written, merge::PartitionId partition) const {
  return std::ranges::any_of(data_dirs, [&](const std::string& data_dir) {
    const std::string base =
        fmt::format("{}/merged/{}/{}", data_dir, to_string(written.shuffle), number(partition));
    const auto* index = disk.peek(base + ".index");
    if (index == nullptr) return false;
    const auto parsed = merge::parse_index(*index, written.shuffle.shuffle, partition, base);
    return parsed && std::ranges::any_of(parsed->records, [&](const merge::IndexRecord& record) {
             if (record.map != written.map || record.removal) return false;
             return std::ranges::any_of(
                 segment_files(disk, base, record.segment), [&](const auto* data) {
                   return data != nullptr && record.offset <= data->size() &&
                          record.length <= data->size() - record.offset &&
                          Truth::is_block(
                              written, partition,
                              {reinterpret_cast<const char*>(data->data()) + record.offset,
                               record.length});
                 });
           });
  });
}

bool MergedCheck::is_excused(const std::string& base) const {
  return excused_.contains(without_disk(base));
}

void MergedCheck::excuse(const std::string& path) { excused_.insert(base_of(path)); }

void MergedCheck::excuse_all(const SimDisk& disk) {
  for (const std::string& path : disk.files_below("")) {
    if (path.find("/merged/") != std::string::npos) excused_.insert(base_of(path));
  }
}

}  // namespace shufflefs::sim
