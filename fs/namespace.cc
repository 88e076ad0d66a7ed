#include "fs/namespace.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include "base/parse.h"
#include "base/stable_hash.h"

namespace shufflefs::fs {
namespace {

Error no_such_name(const VirtualNode& parent, std::string_view name) {
  return make_error(Code::kNotFound,
                    fmt::format("there is no '{}' in '{}'", name.substr(0, 80), path_of(parent)));
}

VirtualNode with_kind(VirtualNode node, NodeKind kind) {
  node.kind = kind;
  return node;
}

// "7.data" is "7" and ".data".
std::pair<std::string_view, std::string_view> split_suffix(std::string_view name) {
  const auto dot = name.find('.');
  if (dot == std::string_view::npos) return {name, {}};
  return {name.substr(0, dot), name.substr(dot)};
}

Result<VirtualNode> root_child(const VirtualNode& parent, std::string_view name) {
  if (name == "local") return with_kind(parent, NodeKind::kLocal);
  if (name == "shuffles") return with_kind(parent, NodeKind::kShuffles);
  if (name == ".shufflefs") return with_kind(parent, NodeKind::kInfo);
  return no_such_name(parent, name);
}

Result<VirtualNode> local_child(const VirtualNode& parent, std::string_view name) {
  constexpr std::string_view kPrefix = "disk";
  constexpr uint64_t kMostDisks = 10000;
  if (!name.starts_with(kPrefix)) return no_such_name(parent, name);
  const auto disk = parse_decimal(name.substr(kPrefix.size()), kMostDisks);
  if (!disk) return no_such_name(parent, name);
  VirtualNode node = with_kind(parent, NodeKind::kLocalDisk);
  node.disk = static_cast<uint32_t>(*disk);
  return node;
}

Result<VirtualNode> app_in(const VirtualNode& parent, std::string_view name, NodeKind kind) {
  VirtualNode node = with_kind(parent, kind);
  TRY_ASSIGN(node.app, merge::AppId::parse(name));
  return node;
}

Result<VirtualNode> shuffle_in(const VirtualNode& parent, std::string_view name, NodeKind kind) {
  VirtualNode node = with_kind(parent, kind);
  TRY_ASSIGN(node.shuffle, merge::parse_shuffle_id(name));
  return node;
}

Result<VirtualNode> map_file_in(const VirtualNode& parent, std::string_view name, NodeKind kind) {
  const auto [number, suffix] = split_suffix(name);
  if (suffix != ".data" && suffix != ".index") return no_such_name(parent, name);
  VirtualNode node = with_kind(parent, kind);
  node.file = suffix == ".data" ? MapFile::kData : MapFile::kIndex;
  TRY_ASSIGN(node.map, merge::parse_map_id(number));
  return node;
}

// `whole` is the kind of a bare number, where there is one.
Result<VirtualNode> partition_in(const VirtualNode& parent, std::string_view name,
                                 std::optional<NodeKind> whole, NodeKind merged, NodeKind index) {
  const auto [number, suffix] = split_suffix(name);
  VirtualNode node = parent;
  if (suffix.empty() && whole)
    node.kind = *whole;
  else if (suffix == ".merged")
    node.kind = merged;
  else if (suffix == ".index")
    node.kind = index;
  else
    return no_such_name(parent, name);
  TRY_ASSIGN(node.partition, merge::parse_partition_id(number));
  return node;
}

Result<VirtualNode> shuffle_child(const VirtualNode& parent, std::string_view name) {
  if (name == "maps") return with_kind(parent, NodeKind::kMaps);
  if (name == "partitions") return with_kind(parent, NodeKind::kPartitions);
  if (name == "status") return with_kind(parent, NodeKind::kStatus);
  return no_such_name(parent, name);
}

Result<VirtualNode> jar_in(const VirtualNode& parent, std::string_view name) {
  if (name.starts_with('.') || name.find('/') != std::string_view::npos)
    return no_such_name(parent, name);
  VirtualNode node = with_kind(parent, NodeKind::kJar);
  node.info = std::string(name);
  return node;
}

// "<app>,<shuffle>,<partitions>"
Result<VirtualNode> owners_of_in(const VirtualNode& parent, std::string_view name) {
  const auto second = name.rfind(',');
  const auto first = second == std::string_view::npos || second == 0 ? std::string_view::npos
                                                                     : name.rfind(',', second - 1);
  if (first == std::string_view::npos) return no_such_name(parent, name);
  VirtualNode node = with_kind(parent, NodeKind::kOwnersOf);
  TRY_ASSIGN(node.app, merge::AppId::parse(name.substr(0, first)));
  TRY_ASSIGN(node.shuffle, merge::parse_shuffle_id(name.substr(first + 1, second - first - 1)));
  const auto count = parse_decimal(name.substr(second + 1), merge::kMaxPartitions);
  if (!count || *count == 0) return no_such_name(parent, name);
  node.partition = merge::PartitionId{static_cast<uint32_t>(*count - 1)};
  return node;
}

Result<VirtualNode> info_child(const VirtualNode& parent, std::string_view name) {
  if (name == "client") return with_kind(parent, NodeKind::kClient);
  if (name == "client-report") return with_kind(parent, NodeKind::kReport);
  if (name == "owners") return with_kind(parent, NodeKind::kOwners);
  // The names are given by main; they obey the rule of node names, which keeps them printable and
  // short.
  if (!merge::NodeName::parse(name)) return no_such_name(parent, name);
  VirtualNode node = with_kind(parent, NodeKind::kInfoFile);
  node.info = std::string(name);
  return node;
}

std::string_view suffix_of(const VirtualNode& node) {
  switch (node.kind) {
    case NodeKind::kMerged: return ".merged";
    case NodeKind::kIndex: return ".index";
    case NodeKind::kMapFile: return node.file == MapFile::kData ? ".data" : ".index";
    default: return "";
  }
}

// "shuffles/<app>/<shuffle>".
std::string shuffle_path(const VirtualNode& node) {
  return fmt::format("shuffles/{}/{}", node.app.str(), merge::number(node.shuffle));
}

}  // namespace

Result<VirtualNode> child(const VirtualNode& parent, std::string_view name) {
  switch (parent.kind) {
    case NodeKind::kRoot: return root_child(parent, name);
    case NodeKind::kLocal: return local_child(parent, name);
    case NodeKind::kShuffles: return app_in(parent, name, NodeKind::kApp);
    case NodeKind::kApp: return shuffle_in(parent, name, NodeKind::kShuffle);
    case NodeKind::kShuffle: return shuffle_child(parent, name);
    case NodeKind::kMaps: return map_file_in(parent, name, NodeKind::kMapFile);
    case NodeKind::kPartitions:
      return partition_in(parent, name, NodeKind::kPartition, NodeKind::kMerged, NodeKind::kIndex);
    case NodeKind::kInfo: return info_child(parent, name);
    case NodeKind::kClient: return jar_in(parent, name);
    case NodeKind::kOwners: return owners_of_in(parent, name);
    case NodeKind::kLocalDisk:
    case NodeKind::kMapFile:
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
    case NodeKind::kStatus:
    case NodeKind::kInfoFile:
    case NodeKind::kJar:
    case NodeKind::kReport:
    case NodeKind::kOwnersOf: return no_such_name(parent, name);
  }
  return no_such_name(parent, name);
}

std::string path_of(const VirtualNode& node) {
  switch (node.kind) {
    case NodeKind::kRoot: return "";
    case NodeKind::kLocal: return "local";
    case NodeKind::kLocalDisk: return fmt::format("local/disk{}", node.disk);
    case NodeKind::kShuffles: return "shuffles";
    case NodeKind::kApp: return "shuffles/" + node.app.str();
    case NodeKind::kShuffle: return shuffle_path(node);
    case NodeKind::kMaps: return shuffle_path(node) + "/maps";
    case NodeKind::kPartitions: return shuffle_path(node) + "/partitions";
    case NodeKind::kStatus: return shuffle_path(node) + "/status";
    case NodeKind::kMapFile:
      return fmt::format("{}/maps/{}{}", shuffle_path(node), merge::number(node.map),
                         suffix_of(node));
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
      return fmt::format("{}/partitions/{}{}", shuffle_path(node), merge::number(node.partition),
                         suffix_of(node));
    case NodeKind::kInfo: return ".shufflefs";
    case NodeKind::kInfoFile: return ".shufflefs/" + node.info;
    case NodeKind::kClient: return ".shufflefs/client";
    case NodeKind::kJar: return ".shufflefs/client/" + node.info;
    case NodeKind::kReport: return ".shufflefs/client-report";
    case NodeKind::kOwners: return ".shufflefs/owners";
    case NodeKind::kOwnersOf:
      return fmt::format(".shufflefs/owners/{},{},{}", node.app.str(), merge::number(node.shuffle),
                         uint64_t{merge::number(node.partition)} + 1);
  }
  return "";
}

std::string name_of(const VirtualNode& node) {
  const std::string path = path_of(node);
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool is_directory(NodeKind kind) {
  switch (kind) {
    case NodeKind::kMapFile:
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
    case NodeKind::kStatus:
    case NodeKind::kInfoFile:
    case NodeKind::kJar:
    case NodeKind::kReport:
    case NodeKind::kOwnersOf: return false;
    default: return true;
  }
}

mode_t mode_of(NodeKind kind) {
  switch (kind) {
    // Jobs of any user make their application here; the sticky bit keeps users from dropping each
    // other's.
    case NodeKind::kShuffles: return S_IFDIR | S_ISVTX | 0777;
    // An application is its owner's, who can also `rm -r` it.
    case NodeKind::kApp:
    case NodeKind::kShuffle:
    case NodeKind::kMaps:
    case NodeKind::kPartitions: return S_IFDIR | 0750;
    case NodeKind::kMapFile:
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
    case NodeKind::kStatus: return S_IFREG | 0440;
    case NodeKind::kReport: return S_IFREG | 0222;
    default: return is_directory(kind) ? (S_IFDIR | 0755) : (S_IFREG | 0444);
  }
}

uint64_t stable_inode_number(const VirtualNode& node) {
  if (node.kind == NodeKind::kRoot) return 1;
  const uint64_t hash = fnv1a(path_of(node));
  constexpr uint64_t kBit62 = uint64_t{1} << 62U;
  return (hash & (kBit62 - 1)) | kBit62;
}

}  // namespace shufflefs::fs
