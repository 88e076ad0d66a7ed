// A committed map output on this node's disks, in either form, and how its blocks are read.
// Immutable once committed.
//
// Errors name the file and say what contradicts what (kCorruptIndex), so that a person can see
// whose fault it is. Threads: values and pure functions; reading blocks on the disk. Source of the
// format: ../shared/spark-facts.md 2.2.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "merge/app_owners.h"
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
  std::string index_path;  // kFiles only
  uint32_t partition_count = 0;
  uint64_t total_bytes = 0;
  uint64_t epoch = 0;  // the last drop of the shuffle that this node knew of when it was committed
  FileOwner owner{};   // of its files
  // Microseconds since 1970 when it was found; LocalMaps makes it larger than that of any map
  // output before. Tells the lives of a map id that is used again.
  uint64_t commit = 0;
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

// Looks at the files and checks them against each other. kNotFound if one is not there (yet).
[[nodiscard]] Result<MapOutput> inspect_files(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                              const std::string& data_path,
                                              const std::string& index_path);
[[nodiscard]] Result<MapOutput> inspect_directory(FileIo& io, const ShuffleKey& shuffle, MapId map,
                                                  const std::string& directory);

// The lengths of all its blocks, read and checked again.
[[nodiscard]] Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output);
// Those of partitions [first, first + count), 0 beyond the last partition. Cost: one open and one
// read of so many offsets for a pair of files.
[[nodiscard]] Result<std::vector<uint64_t>> block_lengths(FileIo& io, const MapOutput& output,
                                                          uint32_t first, uint32_t count);
// The length of one block: 0 beyond the last partition. Cost: two small reads.
[[nodiscard]] Result<uint64_t> block_length(FileIo& io, const MapOutput& output,
                                            PartitionId partition);

// Reads pieces of blocks; keeps the data file open. Not thread-safe.
class MapOutputReader {
 public:
  [[nodiscard]] static Result<MapOutputReader> open(FileIo& io, const MapOutput& output);
  [[nodiscard]] const std::vector<uint64_t>& lengths() const { return lengths_; }
  // Fills `into` from `offset` of the partition's block, or fails (kCorruptData if the file is
  // shorter than it was).
  [[nodiscard]] Status read(PartitionId partition, uint64_t offset, std::span<std::byte> into);
  // Fills `into` from `offset` of all blocks laid end to end: the data file as Spark would have
  // written it.
  [[nodiscard]] Status read_data(uint64_t offset, std::span<std::byte> into);

 private:
  MapOutputReader(FileIo& io, const MapOutput& output) : io_(&io), output_(output) {}
  FileIo* io_;
  MapOutput output_;
  std::vector<uint64_t> lengths_;
  std::vector<uint64_t> starts_;
  std::unique_ptr<File> data_;  // kFiles with bytes
};

// The index that Spark would have written for these lengths.
[[nodiscard]] std::vector<std::byte> make_spark_index(const std::vector<uint64_t>& lengths);

}  // namespace shufflefs::merge
