// Where Spark puts files: the local directories that an executor may name as its own, and the
// places and names of the files in them.
//
// Threads: pure functions and constants. Failure: see LocalDirs. Source: Spark's
// DiskBlockManager.getFile and ExecutorDiskUtils.getFilePath.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "merge/ids.h"

namespace shufflefs::merge {

struct LocalDir {
  std::string registered;  // as the executor gave it, without a trailing slash
  std::size_t root = 0;    // index into LocalDirs::roots()
  std::string below;       // the path below the root, not empty, without "." and ".."
};

// Which directories executors may name, and where those are on the disks: a path below
// <mount>/local/disk<i> is one below the i-th data directory's local/, and a path below an allowed
// directory is itself. The daemon works on the disks' paths: it never reads through its own mount.
// Paths are compared as text: a symbolic link to the mount is not the mount. Failure: kPermission
// or kInvalidArgument with what would be allowed.
class LocalDirs {
 public:
  // `mounts` are the names under which executors may know the mount (as configured, and without
  // links), `disks` what local/disk0, disk1, ... are, `allowed` directories outside the mount.
  LocalDirs(std::vector<std::string> mounts, std::vector<std::string> disks,
            std::vector<std::string> allowed);

  [[nodiscard]] Result<LocalDir> translate(std::string_view registered) const;
  // First the disks, then the allowed directories.
  [[nodiscard]] const std::vector<std::string>& roots() const { return roots_; }
  [[nodiscard]] bool is_disk(std::size_t root) const { return root < disks_; }
  // The path on the disk.
  [[nodiscard]] std::string backing(const LocalDir& directory) const;

 private:
  std::vector<std::string> mounts_;
  std::vector<std::string> roots_;
  std::size_t disks_;
};

// Java's String.hashCode made non-negative as Spark does it: the absolute value, 0 for the least
// int. The name is taken as ASCII, which all of Spark's are.
[[nodiscard]] uint32_t spark_name_hash(std::string_view file_name);

// The bare name is hashed to one of an executor's local directories and one of the sub-directories
// in it. REQUIRES: at least one of each.
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
// Those that Spark may have written beside the data file of this name; none for another name.
[[nodiscard]] std::vector<std::string> spark_checksum_names_of(std::string_view data_file_name);
[[nodiscard]] std::string spark_rdd_name(uint32_t rdd, uint32_t partition);

// A name that is of no use to anybody once the executor that made it is dead: spills and downloaded
// blocks (temp_shuffle_*, temp_local_*), files that were never renamed to their final name
// (shuffle_<s>_<m>_0.<kind>.<uuid>, and .tmp of native engines), broadcasts and task results on
// their way to the driver.
[[nodiscard]] bool is_spark_temporary(std::string_view file_name);

}  // namespace shufflefs::merge
