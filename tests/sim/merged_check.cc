#include "sim/merged_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/parse.h"

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

// The files below these directories that may be this segment of the partition.
std::vector<const std::vector<std::byte>*> segment_files(
    const SimDisk& disk, const std::vector<std::string>& directories, const std::string& base,
    uint32_t segment) {
  if (segment == 0) return {disk.peek(base + ".data")};
  std::vector<const std::vector<std::byte>*> files;
  const std::string name = fmt::format("{}.{}.data", without_disk(base), segment);
  for (const std::string& directory : directories) {
    for (const std::string& path : disk.files_below(directory)) {
      if (path.ends_with(".data") && without_disk(path) == name) files.push_back(disk.peek(path));
    }
  }
  return files;
}

}  // namespace

std::optional<MergedCheck::Place> MergedCheck::place_of(const std::string& path) {
  const std::size_t merged = path.find("/merged/");
  if (merged == std::string::npos || !path.ends_with(kIndexSuffix)) return std::nullopt;
  const std::string_view below = std::string_view(path).substr(merged + 8);
  // <app>/<shuffle>-<life>/<p>.index
  const std::size_t slash = below.rfind('/');
  const std::size_t dash = below.rfind('-', slash);
  if (slash == std::string::npos || dash == std::string::npos) return std::nullopt;
  const auto shuffle = merge::parse_shuffle_key(below.substr(0, dash));
  const auto life = parse_decimal(below.substr(dash + 1, slash - dash - 1));
  const auto partition = merge::parse_partition_id(
      below.substr(slash + 1, below.size() - slash - 1 - kIndexSuffix.size()));
  if (!shuffle || !life || !partition) return std::nullopt;
  return Place{*shuffle, *life, *partition, path.substr(0, path.size() - kIndexSuffix.size())};
}

std::optional<std::string> MergedCheck::check_record(const SimDisk& disk, const Place& place,
                                                     const merge::IndexRecord& record) {
  const uint64_t offset = record.offset;
  const uint64_t length = record.length;
  const auto complain = [&](std::string_view what) {
    return fmt::format(
        "{}.index: the record of map {}, commit {} (segment {}, offset {}, length {}) {}",
        place.base, number(record.map), record.id.commit, record.segment, offset, length, what);
  };
  const auto writings = truth_.find(place.shuffle, record.map);
  if (writings.empty()) return complain("names a map output that was never written");
  if (record.removal) {  // of what was removed, or replaced by another writing
    const bool is_over = writings.size() > 1 || std::ranges::any_of(writings, [](const auto* w) {
                           return w->removed_at || w->uncertain || w->may_come_again;
                         });
    if (!is_over) return complain("takes out a map output that is there");
    return std::nullopt;
  }
  bool is_long_enough = false;
  for (const auto* data : segment_files(disk, {place.base.substr(0, place.base.find('/', 1))},
                                        place.base, record.segment)) {
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
  const auto parsed = parse(*index, *place);
  if (!parsed) return std::nullopt;  // a torn header
  // Record 0 is the header.
  const uint64_t first = std::max<uint64_t>(1, offset / merge::kIndexRecordBytes) - 1;
  const uint64_t end =
      std::min<uint64_t>(parsed->records.size() + 1, (offset + length) / merge::kIndexRecordBytes);
  for (uint64_t i = first; i + 1 < end; ++i) {
    const merge::IndexRecord& record = parsed->records[i];
    if (auto wrong = check_record(disk, *place, record)) return wrong;
    // A block comes once. Again only if its segment was not there when the partition was loaded.
    for (uint64_t j = 0; j < i && !record.removal; ++j) {
      const merge::IndexRecord& before = parsed->records[j];
      const bool same = before.map == record.map && before.id == record.id;
      if (same && !before.removal && before.segment == record.segment)
        return fmt::format("{}: commit {} of map {} is in records {} and {}", path,
                           record.id.commit, number(record.map), j, i);
    }
  }
  return std::nullopt;
}

Result<merge::ParsedIndex> MergedCheck::parse(std::span<const std::byte> index,
                                              const Place& place) {
  return merge::parse_index(index, place.shuffle.shuffle, place.partition, place.life, place.base);
}

std::optional<std::string> MergedCheck::whole(const SimDisk& disk, const std::string& data_dir) {
  for (const std::string& path : disk.files_below(data_dir + "/merged")) {
    const auto place = place_of(path);
    if (!place || is_excused(place->base)) continue;
    const auto parsed = parse(*disk.peek(path), *place);
    // A torn header or record is what a crash leaves; the next use cuts it off.
    if (!parsed) continue;
    for (const merge::IndexRecord& record : parsed->records) {
      if (auto wrong = check_record(disk, *place, record)) return wrong;
    }
  }
  return std::nullopt;
}

bool MergedCheck::holds(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                        const WrittenMap& written, merge::PartitionId partition) const {
  const auto has = [&](const std::string& path) {
    const auto place = place_of(path);
    if (!place || place->shuffle != written.shuffle || place->partition != partition) return false;
    if (is_excused(place->base)) return true;
    const auto parsed = parse(*disk.peek(path), *place);
    return parsed && std::ranges::any_of(parsed->records, [&](const merge::IndexRecord& record) {
             return record.map == written.map && record.length == written.length(partition);
           });
  };
  return std::ranges::any_of(data_dirs, [&](const std::string& data_dir) {
    return std::ranges::any_of(
        disk.files_below(fmt::format("{}/merged/{}", data_dir, written.shuffle.app.str())), has);
  });
}

bool MergedCheck::any_record(
    const SimDisk& disk, const std::vector<std::string>& data_dirs, const WrittenMap& written,
    merge::PartitionId partition,
    const std::function<bool(const Place&, const merge::IndexRecord&)>& wanted) {
  const auto has = [&](const std::string& path) {
    const auto place = place_of(path);
    if (!place || place->shuffle != written.shuffle || place->partition != partition) return false;
    const auto parsed = parse(*disk.peek(path), *place);
    if (!parsed) return false;
    for (auto it = parsed->records.begin(); it != parsed->records.end(); ++it) {
      const bool is_taken_out = std::any_of(it, parsed->records.end(), [&](const auto& later) {
        return later.removal && later.map == it->map && later.id == it->id;
      });
      if (it->map == written.map && !is_taken_out && wanted(*place, *it)) return true;
    }
    return false;
  };
  return std::ranges::any_of(data_dirs, [&](const std::string& data_dir) {
    return std::ranges::any_of(
        disk.files_below(fmt::format("{}/merged/{}", data_dir, written.shuffle.app.str())), has);
  });
}

bool MergedCheck::holds_intact(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                               const WrittenMap& written, merge::PartitionId partition) const {
  return any_record(
      disk, data_dirs, written, partition,
      [&](const Place& place, const merge::IndexRecord& record) {
        return std::ranges::any_of(
            segment_files(disk, data_dirs, place.base, record.segment), [&](const auto* data) {
              return data != nullptr && record.offset <= data->size() &&
                     record.length <= data->size() - record.offset &&
                     Truth::is_block(written, partition,
                                     {reinterpret_cast<const char*>(data->data()) + record.offset,
                                      record.length});
            });
      });
}

bool MergedCheck::holds_other(const SimDisk& disk, const std::vector<std::string>& data_dirs,
                              const WrittenMap& written, merge::PartitionId partition) const {
  const std::string block = Truth::block(written, partition);
  const uint32_t crc = crc32c(std::as_bytes(std::span(block)));
  return any_record(
      disk, data_dirs, written, partition,
      [&](const Place& /*place*/, const merge::IndexRecord& record) { return record.crc != crc; });
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
