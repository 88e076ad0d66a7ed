#include "merge/spark_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <span>

#include "base/parse.h"
#include "merge/map_output.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kMaxPathBytes = 4096;

bool is_plain(std::string_view path) {
  if (path.size() < 2 || path.size() > kMaxPathBytes || path.front() != '/') return false;
  if (path.find('\0') != std::string_view::npos) return false;
  const auto parts = split(path.substr(1), '/');
  return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
    return part.empty() || part == "." || part == "..";
  });
}

// What follows `above` and a slash.
std::optional<std::string_view> below(std::string_view path, std::string_view above) {
  if (path.size() <= above.size() + 1 || !path.starts_with(above) || path[above.size()] != '/')
    return std::nullopt;
  return path.substr(above.size() + 1);
}

constexpr std::size_t kUuidBytes = 36;

bool is_uuid(std::string_view text) {
  if (text.size() != kUuidBytes) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0)
      return false;
  }
  return true;
}

}  // namespace

LocalDirs::LocalDirs(std::vector<std::string> mounts, std::vector<std::string> disks,
                     std::vector<std::string> allowed)
    : mounts_(std::move(mounts)), roots_(std::move(disks)), disks_(roots_.size()) {
  roots_.insert(roots_.end(), allowed.begin(), allowed.end());
}

Result<LocalDir> LocalDirs::translate(std::string_view registered) const {
  while (registered.size() > 1 && registered.ends_with('/')) registered.remove_suffix(1);
  if (!is_plain(registered)) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("the local directory '{}' is not an absolute path without '.', "
                                  "'..' and empty parts",
                                  registered.substr(0, 200)));
  }
  for (const std::string& mount : mounts_) {
    const auto rest = below(registered, mount + "/local");
    if (!rest) continue;
    const std::size_t slash = rest->find('/');
    const std::string_view disk = rest->substr(0, slash);
    const auto number = disk.starts_with("disk") && disks_ > 0
                            ? parse_decimal(disk.substr(4), disks_ - 1)
                            : std::nullopt;
    if (!number || slash == std::string_view::npos || slash + 1 == rest->size()) {
      return make_error(Code::kPermission,
                        fmt::format("the local directory {} is not below {}/local/disk<i> with i "
                                    "from 0 to {}",
                                    registered, mount, disks_ - 1));
    }
    return LocalDir{std::string(registered), *number, std::string(rest->substr(slash + 1))};
  }
  for (std::size_t root = disks_; root < roots_.size(); ++root) {
    if (const auto rest = below(registered, roots_[root]))
      return LocalDir{std::string(registered), root, std::string(*rest)};
  }
  return make_error(
      Code::kPermission,
      fmt::format(
          "the local directory {} is neither below the mount ({}/local/disk<i>) nor below "
          "an allowed directory ({}): set SPARK_LOCAL_DIRS or spark.local.dir to the mount, "
          "or start shufflefs with --spark-allow-dir",
          registered, fmt::join(mounts_, ", "),
          roots_.size() == disks_
              ? "none"
              : fmt::format("{}", fmt::join(std::span(roots_).subspan(disks_), ", "))));
}

std::string LocalDirs::backing(const LocalDir& directory) const {
  return roots_.at(directory.root) + "/" + directory.below;
}

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

std::vector<std::string> spark_checksum_names_of(std::string_view data_file_name) {
  const auto name = parse_spark_name(data_file_name);
  if (!name || name->is_index) return {};
  std::vector<std::string> names;
  for (const std::string_view algorithm : {"ADLER32", "CRC32", "CRC32C"})
    names.push_back(spark_checksum_name(name->shuffle, name->map, algorithm));
  return names;
}

std::string spark_rdd_name(uint32_t rdd, uint32_t partition) {
  return fmt::format("rdd_{}_{}", rdd, partition);
}

bool is_spark_temporary(std::string_view file_name) {
  for (const std::string_view prefix : {"temp_shuffle_", "temp_local_"}) {
    if (file_name.starts_with(prefix)) return is_uuid(file_name.substr(prefix.size()));
  }
  if (file_name.starts_with("broadcast_") || file_name.starts_with("taskresult_")) return true;
  // Of the native writers of Comet and Auron: <final name>.tmp.
  constexpr std::string_view kTmp = ".tmp";
  if (file_name.ends_with(kTmp) &&
      parse_spark_name(file_name.substr(0, file_name.size() - kTmp.size())))
    return true;
  // <final name>.<uuid>, where the final name is that of a map output's file.
  if (!file_name.starts_with("shuffle_") || file_name.size() <= kUuidBytes + 1) return false;
  const std::size_t dot = file_name.size() - kUuidBytes - 1;
  return file_name[dot] == '.' && is_uuid(file_name.substr(dot + 1));
}

}  // namespace shufflefs::merge
