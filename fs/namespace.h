// The virtual half of the mount as one table. Each kind of path has a row: how its name is
// written, what it is, and which members of VirtualContents say what is in it. A new virtual file
// is a PathKind, a row in namespace.cc and the functions that the row names.
//
// Numbers and names are parsed by merge/ids.h alone, so every VirtualPath can be written, and
// path_of() is its one spelling: two are equal exactly if their texts are.
//
// Threads: values. Failure: kInvalidArgument with the rule for a name that does not parse,
// kNotFound for one that has no meaning. Cost: a few strings.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/runtime.h"
#include "merge/ids.h"

namespace shufflefs::fs {

enum class PathKind : uint8_t {
  kRoot,
  kLocal,       // local/
  kLocalDisk,   // local/disk<i>: a native tree
  kShuffles,    // shuffles/
  kApp,         // shuffles/<app>/
  kShuffle,     // shuffles/<app>/<shuffle>/
  kMaps,        // .../maps/: a native tree, or virtual where Spark wrote the map outputs
  kMapData,     // .../maps/<mapId>.data in the virtual form
  kMapIndex,    // .../maps/<mapId>.index
  kPartitions,  // .../partitions/
  kMerged,      // .../partitions/<p>.merged
  kIndex,       // .../partitions/<p>.index
  kPartition,   // .../partitions/<p>
  kStatus,      // .../status
  kInfo,        // .shufflefs/
  kClient,      // .shufflefs/client/
  kJar,         // .shufflefs/client/<name>: a file of this node's, shown as it is
  kReport,      // .shufflefs/client-report: only to be written
  kOwners,      // .shufflefs/owners/: empty to look at
  kOwnersOf,    // .shufflefs/owners/<app>,<shuffle>,<partitions>: who would own which of them
  kInfoFile,    // .shufflefs/<name>
};

// Fields that a kind does not need keep their defaults, so that == compares what matters.
struct VirtualPath {
  PathKind kind = PathKind::kRoot;
  uint32_t disk = 0;
  merge::AppId app;
  merge::ShuffleId shuffle{};
  merge::PartitionId partition{};  // kOwnersOf: the last one
  merge::MapId map{};
  std::string word;  // kInfoFile, kJar: the name

  [[nodiscard]] merge::ShuffleKey key() const { return {app, shuffle}; }
  friend bool operator==(const VirtualPath&, const VirtualPath&) = default;
};

// What `name` in the directory `parent` is.
[[nodiscard]] Result<VirtualPath> child(const VirtualPath& parent, std::string_view name);
// Relative to the mount, without a slash in front: "shuffles/wordcount/0/partitions/3"; "" for the
// root.
[[nodiscard]] std::string path_of(const VirtualPath& path);
// The last component of path_of().
[[nodiscard]] std::string name_of(const VirtualPath& path);
// st_ino: the same for a path after a restart and on every node, with bit 62 set (the root: 1). Not
// the FUSE nodeid.
[[nodiscard]] uint64_t stable_inode_number(const VirtualPath& path);

// ---- the table

struct Facts;
struct OpenedFile;
class Listing;
class VirtualContents;

// The part of a name that differs from path to path.
struct NameField {
  Status (*read)(std::string_view text, VirtualPath& into) = nullptr;
  std::string (*write)(const VirtualPath& path) = nullptr;
};

enum class Removal : uint8_t {
  kRefused,    // as every other change: EROFS
  kPretended,  // succeeds and does nothing, so that rm -r gets as far as what it drops
  kDrops,      // on all nodes; mkdir makes it
};

struct PathRow {
  PathKind kind{};
  PathKind parent{};
  // The name: `prefix`, the field if there is one, `suffix`.
  std::string_view prefix{};
  const NameField* field = nullptr;
  std::string_view suffix{};
  mode_t mode = 0;           // type and permission bits
  double cache_seconds = 0;  // how long the kernel may remember the name and its attributes
  Removal removal = Removal::kRefused;
  std::span<const std::string_view> attributes{};  // extended ones; their values are Facts

  // Whether it is there, and how large. Without any of these three it always is.
  // Any thread, may look at the disk; nothing: learn() has to say.
  std::optional<Result<Facts>> (VirtualContents::*look)(const VirtualPath&) = nullptr;
  Task<Result<Facts>> (VirtualContents::*learn)(VirtualPath) = nullptr;  // reactor
  // A text that is made when it is looked at or opened. Reactor.
  Task<Result<std::string>> (VirtualContents::*text)(VirtualPath) = nullptr;

  // Of a directory: its names besides the fixed ones of the table. Any thread.
  std::vector<std::string> (VirtualContents::*names)(const VirtualPath&) = nullptr;
  Task<Result<Listing>> (VirtualContents::*list)(VirtualPath) = nullptr;  // all of them; reactor

  // Of a file without a text. Reactor.
  Task<Result<OpenedFile>> (VirtualContents::*open)(VirtualPath) = nullptr;
};

[[nodiscard]] const PathRow& row_of(PathKind kind);
[[nodiscard]] std::span<const PathRow> path_rows();
[[nodiscard]] bool is_directory(PathKind kind);
// Whether `kind` is `above` or below it: is_within(kStatus, kApp).
[[nodiscard]] bool is_within(PathKind kind, PathKind above);

}  // namespace shufflefs::fs
