#include "bench/service_files.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "base/crc32c.h"
#include "base/endian.h"
#include "bench/turns.h"

namespace shufflefs::bench {
namespace {

// Java's String.hashCode of ASCII, made positive as Spark does.
uint32_t spark_hash(const std::string& text) {
  uint32_t hash = 0;
  for (const char c : text) hash = hash * 31U + static_cast<unsigned char>(c);
  const auto number = static_cast<int32_t>(hash);
  if (number == INT32_MIN) return 0;
  return static_cast<uint32_t>(number < 0 ? -number : number);
}

void write_file(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) fail(path.string());
}

void fill_block(std::span<std::byte> block, uint32_t map, uint32_t partition) {
  uint64_t state = (uint64_t{map} << 32U | partition) * 0x9E3779B97F4A7C15U + 1;
  for (std::size_t at = 0; at + 8 <= block.size(); at += 8) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::memcpy(&block[at], &state, 8);
  }
  BlockHead head{kMagic, 0, map, partition};
  std::memcpy(block.data(), &head, sizeof(head));
  head.crc = crc32c(block.subspan(kCheckedFrom));
  std::memcpy(block.data(), &head, sizeof(head));
}

}  // namespace

std::filesystem::path file_path(const std::filesystem::path& directory, const std::string& name) {
  return directory / fmt::format("{:02x}", spark_hash(name) % kSubDirectories) / name;
}

void make_files(const FileSet& files) {
  std::vector<std::byte> data(std::size_t{files.partitions} * files.block_bytes);
  std::vector<std::byte> index((std::size_t{files.partitions} + 1) * 8);
  for (uint32_t i = 0; i <= files.partitions; ++i)
    store_be<uint64_t>(&index[std::size_t{i} * 8], uint64_t{i} * files.block_bytes);
  for (uint32_t map = 0; map < files.maps; ++map) {
    for (uint32_t i = 0; i < files.partitions; ++i) {
      const auto block = std::span(data).subspan(std::size_t{i} * files.block_bytes);
      fill_block(block.first(files.block_bytes), map, i);
    }
    const std::string name = fmt::format("shuffle_{}_{}_0", files.shuffle, map);
    write_file(file_path(files.directory, name + ".data"), data);
    write_file(file_path(files.directory, name + ".index"), index);
  }
}

}  // namespace shufflefs::bench
