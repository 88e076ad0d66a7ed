#include "merge/spark_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kUuidLength = 36;

bool is_uuid(std::string_view text) {
  if (text.size() != kUuidLength) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0)
      return false;
  }
  return true;
}

}  // namespace

uint32_t spark_name_hash(std::string_view file_name) {
  uint32_t hash = 0;
  for (const char c : file_name) hash = hash * 31 + static_cast<unsigned char>(c);
  const auto signed_hash = static_cast<int32_t>(hash);
  if (signed_hash == INT32_MIN) return 0;
  return static_cast<uint32_t>(std::abs(signed_hash));
}

SparkPlace spark_place(std::string_view file_name, std::size_t directories,
                       uint32_t sub_directories) {
  const uint32_t hash = spark_name_hash(file_name);
  return {hash % directories, static_cast<uint32_t>(hash / directories % sub_directories)};
}

std::string spark_path_below(const SparkPlace& place, std::string_view file_name) {
  return fmt::format("{:02x}/{}", place.sub_directory, file_name);
}

std::string spark_file_name(ShuffleId shuffle, MapId map, SparkFile file) {
  return fmt::format("shuffle_{}_{}_0.{}", number(shuffle), number(map),
                     file == SparkFile::kData ? "data" : "index");
}

std::string spark_checksum_name(ShuffleId shuffle, MapId map, std::string_view algorithm) {
  return fmt::format("shuffle_{}_{}_0.checksum.{}", number(shuffle), number(map), algorithm);
}

std::string spark_rdd_name(uint32_t rdd, uint32_t partition) {
  return fmt::format("rdd_{}_{}", rdd, partition);
}

bool is_spark_temporary(std::string_view file_name) {
  for (const std::string_view prefix : {"temp_shuffle_", "temp_local_"}) {
    if (file_name.starts_with(prefix)) return is_uuid(file_name.substr(prefix.size()));
  }
  if (file_name.starts_with("broadcast_") || file_name.starts_with("taskresult_")) return true;
  // <final name>.<uuid>, where the final name is that of a map output's file.
  if (!file_name.starts_with("shuffle_") || file_name.size() <= kUuidLength + 1) return false;
  const std::size_t dot = file_name.size() - kUuidLength - 1;
  return file_name[dot] == '.' && is_uuid(file_name.substr(dot + 1));
}

}  // namespace shufflefs::merge
