#include "merge/map_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

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

// Where the blocks begin when they are laid end to end; one more entry than blocks.
std::vector<uint64_t> starts_of(const std::vector<uint64_t>& lengths) {
  std::vector<uint64_t> starts(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), starts.begin() + 1);
  return starts;
}

// The file of one partition in a directory output.
std::string block_path(const std::string& directory, uint64_t partition) {
  return fmt::format("{}/{}", directory, partition);
}

Status read_exactly(File& file, const std::string& path, uint64_t offset,
                    std::span<std::byte> into) {
  TRY_ASSIGN(const std::size_t n, file.read_at(offset, into));
  if (n != into.size()) {
    return make_error(
        Code::kCorruptData,
        fmt::format("{} ends at {}, but {} bytes were expected at offset {}: it was changed "
                    "after it was committed",
                    path, offset + n, into.size(), offset));
  }
  return ok();
}

Result<std::vector<uint64_t>> directory_lengths(FileIo& io, const std::string& directory) {
  TRY_ASSIGN(const FileInfo whole, io.stat(directory));
  TRY_ASSIGN(const std::vector<DirectoryEntry> entries, io.list(directory));
  std::vector<uint64_t> lengths;
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
    if (number(*partition) >= lengths.size())
      lengths.resize(std::size_t{number(*partition)} + 1, 0);
    lengths[number(*partition)] = info.size;
  }
  return lengths;
}

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

Result<MapOutput> inspect_files(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                const std::string& data_path, const std::string& index_path) {
  TRY_ASSIGN(const std::vector<uint64_t> offsets, read_offsets(io, data_path, index_path));
  MapOutput output{shuffle, map, MapOutput::Form::kFiles, data_path, index_path};
  output.partition_count = static_cast<uint32_t>(offsets.size() - 1);
  output.total_bytes = offsets.back();
  TRY_ASSIGN(const FileInfo index, io.stat(index_path));
  output.owner = {index.uid, index.gid};
  const auto data = io.stat(data_path);
  if (data && data->uid != index.uid) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("{} is of user {}, {} of user {}: a map output belongs to one "
                                  "user",
                                  data_path, data->uid, index_path, index.uid));
  }
  return output;
}

Result<MapOutput> inspect_directory(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                    const std::string& directory) {
  TRY_ASSIGN(const std::vector<uint64_t> lengths, directory_lengths(io, directory));
  MapOutput output{shuffle, map, MapOutput::Form::kDirectory, directory, ""};
  output.partition_count = static_cast<uint32_t>(lengths.size());
  output.total_bytes = std::accumulate(lengths.begin(), lengths.end(), uint64_t{0});
  TRY_ASSIGN(const FileInfo info, io.stat(directory));
  output.owner = {info.uid, info.gid};
  return output;
}

Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output) {
  if (output.form == MapOutput::Form::kDirectory) return directory_lengths(io, output.data_path);
  TRY_ASSIGN(std::vector<uint64_t> offsets, read_offsets(io, output.data_path, output.index_path));
  std::adjacent_difference(offsets.begin(), offsets.end(), offsets.begin());
  offsets.erase(offsets.begin());
  return offsets;
}

Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output, uint32_t first,
                                            uint32_t count) {
  std::vector<uint64_t> lengths(count, 0);
  if (first >= output.partition_count) return lengths;
  const uint32_t there = std::min(count, output.partition_count - first);
  if (output.form == MapOutput::Form::kDirectory) {
    for (uint32_t i = 0; i < there; ++i) {
      const auto info = io.stat(block_path(output.data_path, first + i));
      if (info)
        lengths[i] = info->size;
      else if (info.error().code != Code::kNotFound)
        return info.error();
    }
    // A file that is not there is an empty block, a directory that is not there is no map output.
    if (there > 0) TRY(io.stat(output.data_path));
    return lengths;
  }
  TRY_ASSIGN(const std::unique_ptr<File> index, io.open(output.index_path, OpenMode::kRead));
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

Result<uint64_t> block_length(FileIo& io, const MapOutput& output, PartitionId partition) {
  TRY_ASSIGN(const std::vector<uint64_t> one, block_lengths(io, output, number(partition), 1));
  return one.front();
}

Result<MapOutputReader> MapOutputReader::open(FileIo& io, const MapOutput& output) {
  MapOutputReader reader(io, output);
  TRY_ASSIGN(reader.lengths_, block_lengths(io, output));
  reader.starts_ = starts_of(reader.lengths_);
  if (output.form == MapOutput::Form::kFiles && reader.starts_.back() > 0) {
    TRY_ASSIGN(reader.data_, io.open(output.data_path, OpenMode::kRead));
  }
  return reader;
}

Status MapOutputReader::read(PartitionId partition, uint64_t offset, std::span<std::byte> into) {
  if (number(partition) >= lengths_.size() || offset > lengths_[number(partition)] ||
      into.size() > lengths_[number(partition)] - offset) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("block {} of map {} has no {} bytes at offset {}",
                                  number(partition), number(output_.map), into.size(), offset));
  }
  if (into.empty()) return ok();
  if (data_)
    return read_exactly(*data_, output_.data_path, starts_[number(partition)] + offset, into);
  const std::string path = block_path(output_.data_path, number(partition));
  TRY_ASSIGN(const std::unique_ptr<File> file, io_->open(path, OpenMode::kRead));
  return read_exactly(*file, path, offset, into);
}

Status MapOutputReader::read_data(uint64_t offset, std::span<std::byte> into) {
  if (offset > starts_.back() || into.size() > starts_.back() - offset) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("map {} has no {} bytes at offset {}", number(output_.map),
                                  into.size(), offset));
  }
  // The block that holds `offset`, then on from there.
  auto block = static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), offset) -
                                        starts_.begin()) -
               1;
  while (!into.empty()) {
    const uint64_t within = offset - starts_[block];
    const std::size_t step = std::min<uint64_t>(into.size(), lengths_[block] - within);
    TRY(read(static_cast<PartitionId>(block), within, into.first(step)));
    into = into.subspan(step);
    offset += step;
    ++block;
  }
  return ok();
}

std::vector<std::byte> make_spark_index(const std::vector<uint64_t>& lengths) {
  const std::vector<uint64_t> starts = starts_of(lengths);
  std::vector<std::byte> bytes(starts.size() * kOffsetBytes);
  for (std::size_t i = 0; i < starts.size(); ++i)
    store_be(bytes.data() + i * kOffsetBytes, starts[i]);
  return bytes;
}

}  // namespace shufflefs::merge
