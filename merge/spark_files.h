// Where Spark puts a file, and what it calls it: the bare name is hashed to one of an executor's
// local directories and one of the sub-directories in it.
//
// Pure functions, any thread. REQUIRES: at least one directory and one sub-directory. Source:
// spark-facts.md 2.1 and 2.2 (DiskBlockManager.getFile, ExecutorDiskUtils.getFilePath).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "merge/ids.h"

namespace shufflefs::merge {

// Java's String.hashCode made non-negative as Spark does it: the absolute value, 0 for the least
// int. The name is taken as ASCII, which all of Spark's are.
[[nodiscard]] uint32_t spark_name_hash(std::string_view file_name);

struct SparkPlace {
  std::size_t directory = 0;   // index into the executor's local directories
  uint32_t sub_directory = 0;  // shown as two hexadecimal digits, more if needed
};
[[nodiscard]] SparkPlace spark_place(std::string_view file_name, std::size_t directories,
                                     uint32_t sub_directories);
// "0c/shuffle_0_5_0.data": the path below the local directory.
[[nodiscard]] std::string spark_path_below(const SparkPlace& place, std::string_view file_name);

enum class SparkFile { kData, kIndex };
[[nodiscard]] std::string spark_file_name(ShuffleId shuffle, MapId map, SparkFile file);
// Of the checksums of a map output's blocks; the algorithm is part of the name.
[[nodiscard]] std::string spark_checksum_name(ShuffleId shuffle, MapId map,
                                              std::string_view algorithm);
[[nodiscard]] std::string spark_rdd_name(uint32_t rdd, uint32_t partition);

// A name that is of no use to anybody once the executor that made it is dead: spills and downloaded
// blocks (temp_shuffle_*, temp_local_*), files that were never renamed to their final name
// (shuffle_<s>_<m>_0.<kind>.<uuid>), broadcasts and task results on their way to the driver.
[[nodiscard]] bool is_spark_temporary(std::string_view file_name);

}  // namespace shufflefs::merge
