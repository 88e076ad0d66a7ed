// The names of the virtual half of the mount: which paths can exist, what each one is, and how it
// is written. Pure: no FUSE, no disk, no network. Whether a thing that has a valid name is really
// there is asked elsewhere (virtual_contents.h); this says only what a name means.
//
// Numbers and names are parsed by merge/ids.h and nowhere else, so a VirtualNode is always safe to
// make a path of, and path_of() is its one spelling: two Nodes are equal exactly if their paths
// are.
//
// Threads: values. Failure: kInvalidArgument with the rule for a name that does not parse where any
// name of a kind may stand (an application, a shuffle, a partition, ...), kNotFound for a name that
// has no meaning. Cost: a few strings.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "merge/ids.h"

namespace shufflefs::fs {

enum class NodeKind : uint8_t {
  kRoot,
  kLocal,       // local/
  kLocalDisk,   // local/disk<i>: a native tree
  kShuffles,    // shuffles/
  kApp,         // shuffles/<app>/
  kShuffle,     // shuffles/<app>/<shuffle>/
  kMaps,        // .../maps/: a native tree, or virtual where Spark wrote the map outputs
  kMapFile,     // .../maps/<mapId>.data, .index in the virtual form
  kPartitions,  // .../partitions/
  kPartition,   // .../partitions/<p>
  kMerged,      // .../partitions/<p>.merged
  kIndex,       // .../partitions/<p>.index
  kStatus,      // .../status
  kInfo,        // .shufflefs/
  kInfoFile,    // .shufflefs/<name>
  kClient,      // .shufflefs/client/
  kJar,         // .shufflefs/client/<name>: a file of this node's, shown as it is
  kReport,      // .shufflefs/client-report: only to be written
  kOwners,      // .shufflefs/owners/: empty to look at
  kOwnersOf,    // .shufflefs/owners/<app>,<shuffle>,<partitions>: who would own which of them
};

// Which of the two files of a map output in Spark's format.
enum class MapFile : uint8_t { kData, kIndex };

// Fields that a kind does not need keep their defaults, so that == compares what matters.
struct VirtualNode {
  NodeKind kind = NodeKind::kRoot;
  uint32_t disk = 0;
  merge::AppId app;
  merge::ShuffleId shuffle{};
  merge::PartitionId partition{};  // kOwnersOf: the last one
  merge::MapId map{};
  MapFile file = MapFile::kData;
  std::string info;  // the name of a file in .shufflefs/ or .shufflefs/client/

  [[nodiscard]] merge::ShuffleKey key() const { return {app, shuffle}; }
  friend bool operator==(const VirtualNode&, const VirtualNode&) = default;
};

// What `name` in the directory `parent` is.
[[nodiscard]] Result<VirtualNode> child(const VirtualNode& parent, std::string_view name);

// Relative to the mount, without a slash in front: "shuffles/wordcount/0/partitions/3"; "" for the
// root.
[[nodiscard]] std::string path_of(const VirtualNode& node);
// The last component of path_of().
[[nodiscard]] std::string name_of(const VirtualNode& node);

[[nodiscard]] bool is_directory(NodeKind kind);
// Type and permission bits.
[[nodiscard]] mode_t mode_of(NodeKind kind);
// st_ino: the same for a path after a restart and on every node, with bit 62 set (the root: 1). Not
// the FUSE nodeid.
[[nodiscard]] uint64_t stable_inode_number(const VirtualNode& node);

}  // namespace shufflefs::fs
