// Map outputs as Spark's sort shuffle leaves them, for scripts/bench service: a data and an index
// file for each map, in the directories where an External Shuffle Service looks for them. All
// blocks have the same size; each begins with a head that says which it is and what its crc32c is.
//
// Threads: pure functions. Failure: make_files() ends the program. Source: spark-facts 2.1, 2.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace shufflefs::bench {

inline constexpr int kSubDirectories = 64;  // spark.diskStore.subDirectories

struct FileSet {
  std::filesystem::path directory;  // the only local directory of the executor
  uint32_t shuffle = 0;
  uint32_t maps = 1;
  uint32_t partitions = 1;
  uint32_t block_bytes = 4096;
};

struct BlockHead {
  uint32_t magic = 0;
  uint32_t crc = 0;  // of what follows it in the block
  uint32_t map = 0;
  uint32_t partition = 0;
};
inline constexpr std::size_t kCheckedFrom = 8;  // the offset of what the crc covers
inline constexpr uint32_t kMagic = 0x53564331;

// Where Spark has a file of that name, below one local directory.
[[nodiscard]] std::filesystem::path file_path(const std::filesystem::path& directory,
                                              const std::string& name);

// Writes all files; existing ones are replaced.
void make_files(const FileSet& files);

}  // namespace shufflefs::bench
