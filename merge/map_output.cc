#include "merge/map_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kOffsetBytes = 8;
// (kMaxPartitions + 1) offsets: what an index file may have at most.
constexpr uint64_t kLargestIndex = (uint64_t{kMaxPartitions} + 1) * kOffsetBytes;

Error bad_index(const std::string& name, std::string_view why) {
  return make_error(
      Code::kCorruptIndex,
      fmt::format("{}: {}; the map output stays where it is and is not merged", name, why));
}

// The file of one partition in a directory output.
std::string block_path(const std::string& directory, uint64_t partition) {
  return fmt::format("{}/{}", directory, partition);
}

Error changed(const std::string& path) {
  return make_error(Code::kCorruptData, fmt::format("{} was changed after it was committed", path));
}

Status read_exactly(File& file, const std::string& path, uint64_t offset,
                    std::span<std::byte> into) {
  TRY_ASSIGN(const std::size_t n, file.read_at(offset, into));
  if (n == into.size()) return ok();
  return make_error(Code::kCorruptData,
                    fmt::format("{} ends at {}, but {} bytes were expected at offset {}", path,
                                offset + n, into.size(), offset));
}

Result<std::unique_ptr<File>> open_committed(FileIo& io, const std::string& path,
                                             const FileStamp& stamp) {
  TRY_ASSIGN(std::unique_ptr<File> file, io.open(path, OpenMode::kRead));
  TRY_ASSIGN(const FileStamp now, file->stamp());
  if (now != stamp) return changed(path);
  return file;
}

// A directory's size is the file system's own affair.
FileStamp directory_stamp(const FileInfo& info) {
  return {info.stamp.inode, 0, info.stamp.modified_ns};
}

// ---- the list of a directory's blocks: header, then a record for each block that has bytes ------

constexpr std::string_view kListMagic = "SFSBLOCK";
constexpr std::size_t kListHeaderBytes = 16;  // magic, partition count, crc32c of the records
constexpr std::size_t kListRecordBytes = 32;  // partition, 0, length, inode, modified

struct ListedBlock {
  uint32_t partition = 0;
  FileStamp stamp;
};

ListedBlock parse_listed(const std::byte* at) {
  return {load_le<uint32_t>(at),
          {load_le<uint64_t>(at + 16), load_le<uint64_t>(at + 8), load_le<uint64_t>(at + 24)}};
}

// One record at a time, so that a question about one partition reads little of a long list.
class BlockList {
 public:
  static Result<BlockList> open(FileIo& io, const MapOutput& output) {
    BlockList list;
    TRY_ASSIGN(list.file_, open_committed(io, output.index_path, output.index_stamp));
    list.path_ = output.index_path;
    list.count_ = (output.index_stamp.size - kListHeaderBytes) / kListRecordBytes;
    return list;
  }
  [[nodiscard]] uint64_t count() const { return count_; }
  Result<ListedBlock> record(uint64_t i) {
    std::array<std::byte, kListRecordBytes> bytes{};
    TRY(read_exactly(*file_, path_, kListHeaderBytes + i * kListRecordBytes, bytes));
    return parse_listed(bytes.data());
  }
  // The first one of this partition or a later one; count() if there is none.
  Result<uint64_t> first_from(uint64_t partition) {
    uint64_t low = 0;
    uint64_t high = count_;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      TRY_ASSIGN(const ListedBlock block, record(middle));
      if (block.partition < partition)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

 private:
  std::unique_ptr<File> file_;
  std::string path_;
  uint64_t count_ = 0;
};

}  // namespace

std::optional<SparkName> parse_spark_name(std::string_view file_name) {
  constexpr std::string_view kPrefix = "shuffle_";
  if (!file_name.starts_with(kPrefix)) return std::nullopt;
  SparkName name;
  if (file_name.ends_with(".index")) {
    name.is_index = true;
    file_name.remove_suffix(6);
  } else if (file_name.ends_with(".data")) {
    file_name.remove_suffix(5);
  } else {
    return std::nullopt;
  }
  const auto parts = split(file_name.substr(kPrefix.size()), '_');
  if (parts.size() != 3 || parts[2] != "0")
    return std::nullopt;  // the reduce id of a map output's files is always 0
  const auto shuffle = parse_decimal(parts[0], kMaxShuffleId);
  const auto map = parse_decimal(parts[1], kMaxMapId);
  if (!shuffle || !map) return std::nullopt;
  name.shuffle = static_cast<ShuffleId>(*shuffle);
  name.map = static_cast<MapId>(*map);
  return name;
}

Result<std::vector<uint64_t>> parse_spark_index(std::span<const std::byte> bytes,
                                                uint64_t data_size, const std::string& name) {
  if (bytes.size() < 2 * kOffsetBytes || bytes.size() % kOffsetBytes != 0) {
    return bad_index(
        name,
        fmt::format(
            "the index has {} bytes, which is not a whole number (2 or more) of 8-byte offsets: "
            "it is truncated",
            bytes.size()));
  }
  std::vector<uint64_t> offsets(bytes.size() / kOffsetBytes);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    offsets[i] = load_be<uint64_t>(bytes.data() + i * kOffsetBytes);
    if (i == 0 && offsets[0] != 0)
      return bad_index(name, fmt::format("the first offset is {}, not 0", offsets[0]));
    if (i > 0 && offsets[i] < offsets[i - 1]) {
      return bad_index(name, fmt::format("offset {} of partition {} is below the one before it, {}",
                                         offsets[i], i, offsets[i - 1]));
    }
  }
  if (offsets.back() != data_size) {
    return bad_index(name, fmt::format("the last offset is {}, but the data file has {} bytes",
                                       offsets.back(), data_size));
  }
  return offsets;
}

namespace {

// The offsets of a <data, index> pair as it is on disk now.
Result<std::vector<uint64_t>> read_offsets(FileIo& io, const std::string& data_path,
                                           const std::string& index_path) {
  TRY_ASSIGN(const std::vector<std::byte> index, read_file(io, index_path, kLargestIndex));
  const auto data = io.stat(data_path);
  if (data && !data->is_regular)
    return make_error(Code::kInvalidArgument, fmt::format("{} is not a regular file", data_path));
  if (data) return parse_spark_index(index, data->size, index_path);
  if (data.error().code != Code::kNotFound) return data.error();
  // Spark leaves the data file out if every partition is empty; otherwise its absence means "not
  // committed yet". An index that is wrong in itself is wrong already now.
  const bool has_last = index.size() >= kOffsetBytes && index.size() % kOffsetBytes == 0;
  const uint64_t last =
      has_last ? load_be<uint64_t>(index.data() + index.size() - kOffsetBytes) : 0;
  auto offsets = parse_spark_index(index, last, index_path);
  if (offsets && last > 0) return data.error();
  return offsets;
}

}  // namespace

Result<Inspected> inspect_files(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                const std::string& data_path, const std::string& index_path) {
  // The stamps first: a file that changes while it is read does not have them any more.
  TRY_ASSIGN(const FileInfo index, io.stat(index_path));
  const auto data = io.stat(data_path);
  TRY_ASSIGN(const std::vector<uint64_t> offsets, read_offsets(io, data_path, index_path));
  Inspected inspected;
  MapOutput& output = inspected.output;
  output.shuffle = shuffle;
  output.map = map;
  output.data_path = data_path;
  output.index_path = index_path;
  output.owner = {index.uid, index.gid};
  output.index_stamp = index.stamp;
  if (data) output.data_stamp = data->stamp;
  for (std::size_t i = 1; i < offsets.size(); ++i)
    inspected.sizes.add(static_cast<PartitionId>(i - 1), offsets[i] - offsets[i - 1]);
  output.partition_count = inspected.sizes.partition_count();
  output.total_bytes = inspected.sizes.total_bytes();
  if (!data && output.total_bytes > 0) return data.error();
  if (data && data->uid != index.uid) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("{} is of user {}, {} of user {}: a map output belongs to one "
                                  "user",
                                  data_path, data->uid, index_path, index.uid));
  }
  return inspected;
}

Result<Inspected> inspect_directory(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                    const std::string& directory) {
  TRY_ASSIGN(const FileInfo whole, io.stat(directory));
  TRY_ASSIGN(const std::vector<DirectoryEntry> entries, io.list(directory));
  std::vector<ListedBlock> listed;
  for (const DirectoryEntry& entry : entries) {
    const auto partition = parse_partition_id(entry.name);
    if (!partition) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("{}/{}: {}; a map output's directory holds one file per "
                                    "partition, named by its number",
                                    directory, entry.name, partition.error().message));
    }
    TRY_ASSIGN(const FileInfo info, io.stat(block_path(directory, number(*partition))));
    if (!info.is_regular) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("{}/{} is not a regular file", directory, entry.name));
    }
    if (info.uid != whole.uid) {
      return make_error(Code::kInvalidArgument,
                        fmt::format("{}/{} is of user {}, its directory of user {}: a map output "
                                    "belongs to one user",
                                    directory, entry.name, info.uid, whole.uid));
    }
    listed.push_back({number(*partition), info.stamp});
  }
  std::ranges::sort(listed, {}, &ListedBlock::partition);
  Inspected inspected;
  for (const ListedBlock& block : listed) {
    inspected.sizes.add(static_cast<PartitionId>(block.partition), block.stamp.size);
    if (block.stamp.size > 0) inspected.blocks.push_back(block.stamp);
  }
  MapOutput& output = inspected.output;
  output.shuffle = shuffle;
  output.map = map;
  output.form = MapOutput::Form::kDirectory;
  output.data_path = directory;
  output.partition_count = inspected.sizes.partition_count();
  output.total_bytes = inspected.sizes.total_bytes();
  output.owner = {whole.uid, whole.gid};
  output.data_stamp = directory_stamp(whole);
  return inspected;
}

Status write_block_list(FileIo& io, Inspected& inspected, const std::string& path) {
  const BlockSizes& sizes = inspected.sizes;
  std::vector<std::byte> bytes(kListHeaderBytes + sizes.size() * kListRecordBytes);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::byte* const at = bytes.data() + kListHeaderBytes + i * kListRecordBytes;
    store_le(at, number(sizes[i].partition));
    store_le(at + 8, inspected.blocks[i].size);
    store_le(at + 16, inspected.blocks[i].inode);
    store_le(at + 24, inspected.blocks[i].modified_ns);
  }
  std::memcpy(bytes.data(), kListMagic.data(), kListMagic.size());
  store_le(bytes.data() + 8, sizes.partition_count());
  store_le(bytes.data() + 12, crc32c(std::span(bytes).subspan(kListHeaderBytes)));
  TRY(io.make_directories(path.substr(0, path.rfind('/'))));
  TRY(replace_file(io, path, bytes));
  TRY_ASSIGN(const FileInfo list, io.stat(path));
  inspected.output.index_path = path;
  inspected.output.index_stamp = list.stamp;
  return ok();
}

namespace {

Result<BlockSizes> read_list(FileIo& io, const MapOutput& output) {
  TRY_ASSIGN(const std::unique_ptr<File> file,
             open_committed(io, output.index_path, output.index_stamp));
  std::vector<std::byte> bytes(output.index_stamp.size);
  TRY(read_exactly(*file, output.index_path, 0, bytes));
  const bool whole = bytes.size() >= kListHeaderBytes &&
                     (bytes.size() - kListHeaderBytes) % kListRecordBytes == 0 &&
                     std::memcmp(bytes.data(), kListMagic.data(), kListMagic.size()) == 0;
  if (!whole ||
      load_le<uint32_t>(bytes.data() + 12) != crc32c(std::span(bytes).subspan(kListHeaderBytes)))
    return changed(output.index_path);
  std::vector<ListedBlock> listed;
  for (std::size_t at = kListHeaderBytes; at < bytes.size(); at += kListRecordBytes)
    listed.push_back(parse_listed(bytes.data() + at));
  BlockSizes sizes;
  for (const ListedBlock& block : listed) {
    const uint64_t room = output.total_bytes - sizes.total_bytes();
    if (block.partition < sizes.partition_count() || block.partition >= output.partition_count ||
        block.stamp.size == 0 || block.stamp.size > room)
      return changed(output.index_path);
    sizes.add(static_cast<PartitionId>(block.partition), block.stamp.size);
  }
  if (sizes.total_bytes() != output.total_bytes) return changed(output.index_path);
  if (output.partition_count > sizes.partition_count())
    sizes.add(static_cast<PartitionId>(output.partition_count - 1), 0);
  return sizes;
}

}  // namespace

Status check_stamps(FileIo& io, const MapOutput& output) {
  TRY_ASSIGN(const FileInfo index, io.stat(output.index_path));
  if (index.stamp != output.index_stamp) return changed(output.index_path);
  if (output.form == MapOutput::Form::kDirectory) {
    TRY_ASSIGN(const FileInfo directory, io.stat(output.data_path));
    return directory_stamp(directory) == output.data_stamp ? ok() : changed(output.data_path);
  }
  if (output.total_bytes == 0) return ok();
  TRY_ASSIGN(const FileInfo data, io.stat(output.data_path));
  return data.stamp == output.data_stamp ? ok() : changed(output.data_path);
}

Status check_files(FileIo& io, const MapOutput& output) {
  TRY(check_stamps(io, output));
  if (output.form != MapOutput::Form::kDirectory) return ok();
  TRY_ASSIGN(BlockList list, BlockList::open(io, output));
  for (uint64_t i = 0; i < list.count(); ++i) {
    TRY_ASSIGN(const ListedBlock block, list.record(i));
    const std::string path = block_path(output.data_path, block.partition);
    TRY_ASSIGN(const FileInfo file, io.stat(path));
    if (file.stamp != block.stamp) return changed(path);
  }
  return ok();
}

Result<BlockSizes> read_sizes(FileIo& io, const MapOutput& output) {
  if (output.form == MapOutput::Form::kDirectory) return read_list(io, output);
  TRY_ASSIGN(const std::unique_ptr<File> file,
             open_committed(io, output.index_path, output.index_stamp));
  std::vector<std::byte> bytes(output.index_stamp.size);
  TRY(read_exactly(*file, output.index_path, 0, bytes));
  TRY_ASSIGN(const std::vector<uint64_t> offsets,
             parse_spark_index(bytes, output.total_bytes, output.index_path));
  BlockSizes sizes;
  for (std::size_t i = 1; i < offsets.size(); ++i)
    sizes.add(static_cast<PartitionId>(i - 1), offsets[i] - offsets[i - 1]);
  return sizes;
}

Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output, uint32_t first,
                                            uint32_t count) {
  std::vector<uint64_t> lengths(count, 0);
  if (first >= output.partition_count) return lengths;
  const uint32_t there = std::min(count, output.partition_count - first);
  if (output.form == MapOutput::Form::kDirectory) {
    TRY_ASSIGN(BlockList list, BlockList::open(io, output));
    TRY_ASSIGN(uint64_t i, list.first_from(first));
    for (; i < list.count(); ++i) {
      TRY_ASSIGN(const ListedBlock block, list.record(i));
      if (block.partition - first >= there) break;
      lengths[block.partition - first] = block.stamp.size;
    }
    return lengths;
  }
  TRY_ASSIGN(const std::unique_ptr<File> index,
             open_committed(io, output.index_path, output.index_stamp));
  std::vector<std::byte> offsets((std::size_t{there} + 1) * kOffsetBytes);
  TRY(read_exactly(*index, output.index_path, uint64_t{first} * kOffsetBytes, offsets));
  for (uint32_t i = 0; i < there; ++i) {
    const auto begin = load_be<uint64_t>(offsets.data() + std::size_t{i} * kOffsetBytes);
    const auto end = load_be<uint64_t>(offsets.data() + (std::size_t{i} + 1) * kOffsetBytes);
    if (end < begin || end > output.total_bytes)
      return bad_index(output.index_path, "its offsets changed after the commit");
    lengths[i] = end - begin;
  }
  return lengths;
}

Status read_committed(FileIo& io, const std::string& path, const FileStamp& stamp, uint64_t offset,
                      std::span<std::byte> into) {
  TRY_ASSIGN(const std::unique_ptr<File> file, open_committed(io, path, stamp));
  return read_exactly(*file, path, offset, into);
}

Status read_block(FileIo& io, const MapOutput& output, PartitionId partition, uint64_t offset,
                  std::span<std::byte> into) {
  const uint32_t p = number(partition);
  const auto beyond = [&](uint64_t length) {
    return offset > length || into.size() > length - offset;
  };
  const auto refuse = [&] {
    return make_error(Code::kInvalidArgument,
                      fmt::format("block {} of map {} has no {} bytes at offset {}", p,
                                  number(output.map), into.size(), offset));
  };
  if (p >= output.partition_count) return refuse();
  if (output.form == MapOutput::Form::kDirectory) {
    TRY_ASSIGN(BlockList list, BlockList::open(io, output));
    TRY_ASSIGN(const uint64_t i, list.first_from(p));
    if (i == list.count()) return refuse();
    TRY_ASSIGN(const ListedBlock block, list.record(i));
    if (block.partition != p || beyond(block.stamp.size)) return refuse();
    return read_committed(io, block_path(output.data_path, p), block.stamp, offset, into);
  }
  TRY_ASSIGN(const std::unique_ptr<File> index,
             open_committed(io, output.index_path, output.index_stamp));
  std::array<std::byte, 2 * kOffsetBytes> offsets{};
  TRY(read_exactly(*index, output.index_path, uint64_t{p} * kOffsetBytes, offsets));
  const auto begin = load_be<uint64_t>(offsets.data());
  const auto end = load_be<uint64_t>(offsets.data() + kOffsetBytes);
  if (end < begin || end > output.total_bytes)
    return bad_index(output.index_path, "its offsets changed after the commit");
  if (beyond(end - begin)) return refuse();
  return read_committed(io, output.data_path, output.data_stamp, begin + offset, into);
}

std::vector<std::byte> make_spark_index(const BlockSizes& sizes) {
  std::vector<std::byte> bytes((std::size_t{sizes.partition_count()} + 1) * kOffsetBytes);
  uint64_t end = 0;
  std::size_t next = 0;
  for (uint32_t p = 0; p < sizes.partition_count(); ++p) {
    if (next < sizes.size() && number(sizes[next].partition) == p) end += sizes[next++].length;
    store_be(bytes.data() + (std::size_t{p} + 1) * kOffsetBytes, end);
  }
  return bytes;
}

std::vector<std::byte> make_spark_index(const std::vector<uint64_t>& lengths) {
  return make_spark_index(BlockSizes(lengths));
}

}  // namespace shufflefs::merge
