#include "fs/namespace.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>

#include "base/hash.h"
#include "base/parse.h"
#include "fs/virtual_contents.h"

namespace shufflefs::fs {
namespace {

constexpr NameField kDisk{[](std::string_view text, VirtualPath& into) -> Status {
                            constexpr uint64_t kMaxDisks = 10000;
                            const auto disk = parse_decimal(text, kMaxDisks);
                            if (!disk) return make_error(Code::kNotFound, "there is no such disk");
                            into.disk = static_cast<uint32_t>(*disk);
                            return ok();
                          },
                          [](const VirtualPath& path) { return std::to_string(path.disk); }};

constexpr NameField kAppName{[](std::string_view text, VirtualPath& into) -> Status {
                               TRY_ASSIGN(into.app, merge::AppId::parse(text));
                               return ok();
                             },
                             [](const VirtualPath& path) { return path.app.str(); }};

constexpr NameField kShuffleNumber{
    [](std::string_view text, VirtualPath& into) -> Status {
      TRY_ASSIGN(into.shuffle, merge::parse_shuffle_id(text));
      return ok();
    },
    [](const VirtualPath& path) { return std::to_string(merge::number(path.shuffle)); }};

constexpr NameField kMapNumber{
    [](std::string_view text, VirtualPath& into) -> Status {
      TRY_ASSIGN(into.map, merge::parse_map_id(text));
      return ok();
    },
    [](const VirtualPath& path) { return std::to_string(merge::number(path.map)); }};

constexpr NameField kPartitionNumber{
    [](std::string_view text, VirtualPath& into) -> Status {
      TRY_ASSIGN(into.partition, merge::parse_partition_id(text));
      return ok();
    },
    [](const VirtualPath& path) { return std::to_string(merge::number(path.partition)); }};

// The names are given by main; they obey the rule of node names, which keeps them printable and
// short.
constexpr NameField kInfoWord{[](std::string_view text, VirtualPath& into) -> Status {
                                TRY(merge::NodeName::parse(text));
                                into.word = std::string(text);
                                return ok();
                              },
                              [](const VirtualPath& path) { return path.word; }};

constexpr NameField kFileName{
    [](std::string_view text, VirtualPath& into) -> Status {
      if (text.empty() || text.starts_with('.') || text.find('/') != std::string_view::npos)
        return make_error(Code::kNotFound, "there is no such file");
      into.word = std::string(text);
      return ok();
    },
    [](const VirtualPath& path) { return path.word; }};

// "<app>,<shuffle>,<partitions>"
constexpr NameField kOwnersQuery{
    [](std::string_view text, VirtualPath& into) -> Status {
      const std::vector<std::string_view> words = split(text, ',');
      const auto count = words.size() == 3 ? parse_decimal(words[2], merge::kMaxPartitions)
                                           : std::optional<uint64_t>();
      if (!count || *count == 0)
        return make_error(Code::kNotFound, "not <app>,<shuffle>,<partitions>");
      TRY_ASSIGN(into.app, merge::AppId::parse(words[0]));
      TRY_ASSIGN(into.shuffle, merge::parse_shuffle_id(words[1]));
      into.partition = merge::PartitionId{static_cast<uint32_t>(*count - 1)};
      return ok();
    },
    [](const VirtualPath& path) {
      return fmt::format("{},{},{}", path.app.str(), merge::number(path.shuffle),
                         uint64_t{merge::number(path.partition)} + 1);
    }};

constexpr std::array kShuffleAttributes = {kMapsAttribute, kMergedAttribute, kPartitionsAttribute};
constexpr std::array kPartitionAttributes = {kOwnerAttribute, kMapsAttribute, kMergedAttribute,
                                             kBytesAttribute};

constexpr mode_t kDirectory = S_IFDIR | 0755;
// Jobs of any user make their application in it; the sticky bit keeps users from dropping each
// other's.
constexpr mode_t kEverybodysDirectory = S_IFDIR | S_ISVTX | 0777;
// An application is its owner's, who can also `rm -r` it.
constexpr mode_t kOwnersDirectory = S_IFDIR | 0750;
constexpr mode_t kOwnersFile = S_IFREG | 0440;
constexpr mode_t kFile = S_IFREG | 0444;
constexpr mode_t kOnlyWritten = S_IFREG | 0222;

// Below shuffles/ another node can change or drop everything at any moment: nothing is cached.
constexpr double kCached = 1;

using K = PathKind;
using C = VirtualContents;

// In the order of PathKind. In one directory the first row that fits a name takes it.
// clang-format off
constexpr std::array kRows = {
    PathRow{.kind = K::kRoot, .parent = K::kRoot,
            .mode = kDirectory, .cache_seconds = kCached},

    PathRow{.kind = K::kLocal, .parent = K::kRoot, .prefix = "local",
            .mode = kDirectory, .cache_seconds = kCached, .names = &C::disk_names},
    PathRow{.kind = K::kLocalDisk, .parent = K::kLocal, .prefix = "disk", .field = &kDisk,
            .mode = kDirectory, .look = &C::look_for_disk},

    PathRow{.kind = K::kShuffles, .parent = K::kRoot, .prefix = "shuffles",
            .mode = kEverybodysDirectory, .cache_seconds = kCached, .list = &C::list_apps},
    PathRow{.kind = K::kApp, .parent = K::kShuffles, .field = &kAppName,
            .mode = kOwnersDirectory, .removal = Removal::kDrops,
            .look = &C::look_for_app, .learn = &C::learn_if_known, .list = &C::list_shuffles},
    PathRow{.kind = K::kShuffle, .parent = K::kApp, .field = &kShuffleNumber,
            .mode = kOwnersDirectory, .removal = Removal::kDrops, .attributes = kShuffleAttributes,
            .look = &C::look_for_shuffle, .learn = &C::learn_shuffle},

    PathRow{.kind = K::kMaps, .parent = K::kShuffle, .prefix = "maps",
            .mode = kOwnersDirectory, .removal = Removal::kPretended,
            .look = &C::look_for_shuffle, .learn = &C::learn_if_known, .names = &C::map_names},
    PathRow{.kind = K::kMapData, .parent = K::kMaps, .field = &kMapNumber, .suffix = ".data",
            .mode = kOwnersFile, .removal = Removal::kPretended,
            .look = &C::look_for_map_file, .open = &C::open_map_file},
    PathRow{.kind = K::kMapIndex, .parent = K::kMaps, .field = &kMapNumber, .suffix = ".index",
            .mode = kOwnersFile, .removal = Removal::kPretended,
            .look = &C::look_for_map_file, .open = &C::open_map_file},

    PathRow{.kind = K::kPartitions, .parent = K::kShuffle, .prefix = "partitions",
            .mode = kOwnersDirectory, .removal = Removal::kPretended, .list = &C::list_partitions},
    PathRow{.kind = K::kMerged, .parent = K::kPartitions, .field = &kPartitionNumber, .suffix = ".merged",
            .mode = kOwnersFile, .removal = Removal::kPretended,
            .learn = &C::learn_partition, .open = &C::open_merged},
    PathRow{.kind = K::kIndex, .parent = K::kPartitions, .field = &kPartitionNumber, .suffix = ".index",
            .mode = kOwnersFile, .removal = Removal::kPretended,
            .learn = &C::learn_partition, .open = &C::open_index},
    PathRow{.kind = K::kPartition, .parent = K::kPartitions, .field = &kPartitionNumber,
            .mode = kOwnersFile, .removal = Removal::kPretended, .attributes = kPartitionAttributes,
            .learn = &C::learn_partition, .open = &C::open_partition},

    PathRow{.kind = K::kStatus, .parent = K::kShuffle, .prefix = "status",
            .mode = kOwnersFile, .removal = Removal::kPretended, .text = &C::status_text},

    PathRow{.kind = K::kInfo, .parent = K::kRoot, .prefix = ".shufflefs",
            .mode = kDirectory, .cache_seconds = kCached, .names = &C::info_names},
    PathRow{.kind = K::kClient, .parent = K::kInfo, .prefix = "client",
            .mode = kDirectory, .cache_seconds = kCached, .names = &C::jar_names},
    PathRow{.kind = K::kJar, .parent = K::kClient, .field = &kFileName,
            .mode = kFile, .cache_seconds = kCached,
            .look = &C::look_for_jar, .open = &C::open_jar},
    PathRow{.kind = K::kReport, .parent = K::kInfo, .prefix = "client-report",
            .mode = kOnlyWritten, .open = &C::open_report},
    PathRow{.kind = K::kOwners, .parent = K::kInfo, .prefix = "owners",
            .mode = kDirectory, .cache_seconds = kCached},
    PathRow{.kind = K::kOwnersOf, .parent = K::kOwners, .field = &kOwnersQuery,
            .mode = kFile, .text = &C::owners_text},
    PathRow{.kind = K::kInfoFile, .parent = K::kInfo, .field = &kInfoWord,
            .mode = kFile, .text = &C::info_text},
};
// clang-format on

consteval bool rows_are_in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].kind != static_cast<PathKind>(i)) return false;
  }
  return true;
}
static_assert(rows_are_in_order());

Error no_such_name(const VirtualPath& parent, std::string_view name) {
  return make_error(Code::kNotFound,
                    fmt::format("there is no '{}' in '{}'", name.substr(0, 80), path_of(parent)));
}

// The name of the directory of that kind which `path` is or is below.
std::string name_as(PathKind kind, const VirtualPath& path) {
  const PathRow& row = row_of(kind);
  std::string name(row.prefix);
  if (row.field != nullptr) name.append(row.field->write(path)).append(row.suffix);
  return name;
}

bool fits(const PathRow& row, std::string_view name) {
  if (row.field == nullptr) return name == row.prefix;
  return name.size() >= row.prefix.size() + row.suffix.size() && name.starts_with(row.prefix) &&
         name.ends_with(row.suffix);
}

}  // namespace

std::span<const PathRow> path_rows() { return kRows; }

const PathRow& row_of(PathKind kind) { return kRows.at(static_cast<std::size_t>(kind)); }

bool is_directory(PathKind kind) { return S_ISDIR(row_of(kind).mode); }

bool is_within(PathKind kind, PathKind above) {
  while (kind != above && kind != PathKind::kRoot) kind = row_of(kind).parent;
  return kind == above;
}

Result<VirtualPath> child(const VirtualPath& parent, std::string_view name) {
  for (const PathRow& row : kRows) {
    if (row.parent != parent.kind || row.kind == PathKind::kRoot || !fits(row, name)) continue;
    VirtualPath path = parent;
    path.kind = row.kind;
    if (row.field != nullptr) {
      name.remove_prefix(row.prefix.size());
      name.remove_suffix(row.suffix.size());
      TRY(row.field->read(name, path));
    }
    return path;
  }
  return no_such_name(parent, name);
}

std::string name_of(const VirtualPath& path) { return name_as(path.kind, path); }

std::string path_of(const VirtualPath& path) {
  if (path.kind == PathKind::kRoot) return "";
  std::string text = name_of(path);
  for (PathKind above = row_of(path.kind).parent; above != PathKind::kRoot;
       above = row_of(above).parent)
    text = name_as(above, path).append("/").append(text);
  return text;
}

uint64_t stable_inode_number(const VirtualPath& path) {
  if (path.kind == PathKind::kRoot) return 1;
  constexpr uint64_t kBit62 = uint64_t{1} << 62U;
  return (fnv1a(path_of(path)) & (kBit62 - 1)) | kBit62;
}

}  // namespace shufflefs::fs
