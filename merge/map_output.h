// A committed map output on this node's disks, in either form, and how its blocks are read.
// Immutable once committed: each file is known by its stamp (base/file_io.h), and one that is
// another file now, or was cut or written to, is not read any more (kCorruptData).
//
// Errors name the file and say what contradicts what (kCorruptIndex), so that a person can see
// whose fault it is. Threads: values and pure functions; reading blocks on the disk. Source of the
// format: Spark's IndexShuffleBlockResolver.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "merge/app_owners.h"
#include "merge/block_sizes.h"
#include "merge/ids.h"

namespace shufflefs::merge {

struct MapOutput {
  enum class Form {
    kFiles,
    kDirectory
  };  // <data, index> in Spark's format; one file per partition in a directory

  ShuffleKey shuffle;
  MapId map{};
  Form form = Form::kFiles;
  std::string data_path;   // kFiles: may not exist if total_bytes is 0; kDirectory: the directory
  std::string index_path;  // kDirectory: the list of its blocks that we keep (write_block_list)
  uint32_t partition_count = 0;
  uint64_t total_bytes = 0;
  FileOwner owner{};  // of its files
  FileStamp data_stamp{};
  FileStamp index_stamp{};
  uint64_t commit = 0;  // CommitId::commit; given by ShuffleTable
  uint64_t life = 0;    // of the shuffle's name when it was committed (NodeApi::drop)
  friend bool operator==(const MapOutput&, const MapOutput&) = default;
};

// "shuffle_<s>_<m>_0.data" or ".index"; nothing for any other name (temporary names, checksums,
// other blocks).
struct SparkName {
  ShuffleId shuffle{};
  MapId map{};
  bool is_index = false;
};
[[nodiscard]] std::optional<SparkName> parse_spark_name(std::string_view file_name);

// Spark's index: partition_count + 1 big-endian offsets, the first 0, never falling, the last the
// data's size. Returns the offsets. `name` is for the error message.
[[nodiscard]] Result<std::vector<uint64_t>> parse_spark_index(std::span<const std::byte> bytes,
                                                              uint64_t data_size,
                                                              const std::string& name);

// What looking at the files of a map output shows.
struct Inspected {
  MapOutput output;  // without commit and life
  BlockSizes sizes;
  std::vector<FileStamp> blocks;  // kDirectory: of the file of each block that has bytes
};
// Looks at the files and checks them against each other. kNotFound if one is not there (yet).
[[nodiscard]] Result<Inspected> inspect_files(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                              const std::string& data_path,
                                              const std::string& index_path);
// Without an index: write_block_list() completes it.
[[nodiscard]] Result<Inspected> inspect_directory(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                                  const std::string& directory);
// Writes down which blocks the directory has (docs/formats.md), so that one that is lost or cut
// later is missed, and sets the output's index.
[[nodiscard]] Status write_block_list(FileIo& io, Inspected& inspected, const std::string& path);

// Are the files those that were committed? kNotFound, kCorruptData, or the disk's error if not.
[[nodiscard]] Status check_stamps(FileIo& io, const MapOutput& output);
// The same, and of a directory each file in it, which may change without the directory.
[[nodiscard]] Status check_files(FileIo& io, const MapOutput& output);

// The sizes of all its blocks, read again.
[[nodiscard]] Result<BlockSizes> read_sizes(FileIo& io, const MapOutput& output);
// Those of partitions [first, first + count), 0 beyond the last partition. Cost: one open and one
// read of so many offsets for a pair of files.
[[nodiscard]] Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output,
                                                          uint32_t first, uint32_t count);
// Fills `into` from `offset` of the partition's block. Cost: two opens and two reads.
[[nodiscard]] Status read_block(FileIo& io, const MapOutput& output, PartitionId partition,
                                uint64_t offset, std::span<std::byte> into);
// Fills `into` from `offset` of a file that is committed with this stamp.
[[nodiscard]] Status read_committed(FileIo& io, const std::string& path, const FileStamp& stamp,
                                    uint64_t offset, std::span<std::byte> into);

// The index that Spark would have written for these sizes.
[[nodiscard]] std::vector<std::byte> make_spark_index(const BlockSizes& sizes);
[[nodiscard]] std::vector<std::byte> make_spark_index(const std::vector<uint64_t>& lengths);

}  // namespace shufflefs::merge
