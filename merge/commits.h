// Where the mount reports what happened to files, and where map outputs are recognised: Spark's
// shuffle_<s>_<m>_0.{data,index} anywhere under local/, and generic outputs in
// shuffles/<app>/<shuffle>/maps/, either a directory <mapId>/ of files named by partition, or a
// pair <mapId>.data and <mapId>.index in Spark's format.
//
// Threads: any but the reactor. The void functions do no more than look at small local files and
// write the event down (close, rename and utimens never wait for the pipeline behind them).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_io.h"
#include "base/metrics.h"
#include "merge/ids.h"
#include "merge/map_output.h"

namespace shufflefs::merge {

// The attribute on a directory under local/ that says which application the Spark files below it
// belong to.
inline constexpr const char* kAppAttribute = "user.shufflefs.app";

// What a name in a maps/ directory stands for.
enum class GenericName { kTemporary, kDirectory, kData, kIndex, kBad };
struct ParsedGenericName {
  GenericName kind = GenericName::kBad;
  MapId map{};
};
// Names that start with a dot are temporary; "<mapId>", "<mapId>.data", "<mapId>.index"; anything
// else is bad.
[[nodiscard]] ParsedGenericName parse_generic_name(std::string_view name);

// The directory of one life of a shuffle's name (NodeApi::drop): "<shuffle>-<life>".
[[nodiscard]] std::string life_directory(ShuffleId shuffle, uint64_t life);
[[nodiscard]] std::optional<std::pair<ShuffleId, uint64_t>> parse_life_directory(
    std::string_view name);

class CommitSink {
 public:
  virtual ~CommitSink() = default;

  // ---- local/: paths on the disk below -----------------------------------------------------------------------
  // A file got a name that parse_spark_name knows, by rename, link or a last close. `drops`:
  // drops_heard() at that moment, or before: a later drop is of this file too.
  virtual void spark_file_appeared(std::string path, uint64_t drops) = 0;
  void spark_file_appeared(std::string path) {
    spark_file_appeared(std::move(path), drops_heard());
  }
  [[nodiscard]] virtual uint64_t drops_heard() const = 0;
  virtual void spark_file_removed(std::string path) = 0;
  // Files that cannot be named were removed. Blocks on the disk, as the next one.
  virtual void spark_files_removed() = 0;
  // Some of all this was not told: everything below local/ is looked at again.
  virtual void spark_events_lost(uint64_t drops) = 0;
  // user.shufflefs.app was set (or removed) on the directory, or an executor has registered it.
  virtual void application_named(std::string directory) = 0;
  // The executor that had registered the directory has registered anew, without it: what is below
  // is of an earlier attempt of its application. Blocks on the disk.
  virtual void directory_left(std::string directory) = 0;

  // ---- quotas ------------------------------------------------------------------------------------------------
  // Whether applications have one at all: else nobody need ask.
  [[nodiscard]] virtual bool has_quotas() const { return false; }
  // May something new be made at `path` below local/, or for the shuffle? kPermission with EDQUOT
  // if the application has used up what it may have on this node.
  virtual Status check_quota(const std::string& /*path*/) { return ok(); }
  virtual Status check_quota(const ShuffleKey& /*shuffle*/) { return ok(); }

  // ---- shuffles/<app>/<shuffle>/maps/ ------------------------------------------------------------------------
  // Makes the place on disk where this node keeps the generic map outputs of the shuffle, and
  // returns its path.
  virtual Result<std::string> generic_directory(const ShuffleKey& shuffle, bool create) = 0;
  // May the file or directory at `path` become `name` in the shuffle's maps/? The error says what
  // is wrong with it (logged and remembered for the shuffle's status); for the second file of a
  // pair both are checked.
  virtual Status check_generic(const ShuffleKey& shuffle, const std::string& path,
                               std::string_view name) = 0;
  // It has. Also called when a file of a pair that was written in place is closed.
  virtual void generic_appeared(const ShuffleKey& shuffle, std::string name) = 0;
  virtual void generic_removed(const ShuffleKey& shuffle, std::string name) = 0;
  // Committed map outputs are immutable.
  [[nodiscard]] virtual bool is_committed(const ShuffleKey& shuffle, MapId map) const = 0;
};

}  // namespace shufflefs::merge
