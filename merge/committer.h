// Recognises committed map outputs (CommitSink) and keeps the list of them: looks at the files,
// checks them, and tells the rest of the domain what was committed and what was removed. After a
// restart scan() finds everything again.
//
// Threads: any. spark_* and application_named work on a disk thread; generic_appeared works at
// once, so that a generic map output is known when its rename returns. Failure: a bad output is
// logged (commit.refused), remembered for the shuffle's status, and left where it is.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/runtime.h"
#include "merge/app_owners.h"
#include "merge/commits.h"
#include "merge/epochs.h"
#include "merge/local_maps.h"
#include "merge/trash.h"

namespace shufflefs::merge {

// Of the directories in which every user's jobs write, as /tmp: everybody may create, nobody
// removes what is another's.
inline constexpr uint32_t kSharedDirectory = 01777;
// Of the map outputs of one user's application.
inline constexpr uint32_t kOwnersDirectory = 0750;

class Committer final : public CommitSink {
 public:
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    Metrics& metrics;
    LocalMaps& maps;
    Epochs& epochs;
    Trash& trash;
    std::vector<std::string> data_dirs;
    // Called on any thread, after the list has changed.
    std::function<void(const ShuffleKey&, MapId)> on_committed;
    std::function<void(const MapOutput&)> on_removed;
    // The application whose executor has registered exactly this directory. Any thread.
    std::function<std::optional<AppId>(const std::string&)> registered = {};
    AppOwners* owners = nullptr;  // none: anybody's
    uint64_t app_quota = 0;       // bytes of committed map outputs of an application; 0: no quota
  };
  explicit Committer(Parts parts);

  void spark_file_appeared(std::string path) override;
  void spark_file_removed(std::string path) override;
  void application_named(std::string directory) override;
  Result<std::string> generic_directory(const ShuffleKey& shuffle, bool create) override;
  Status check_generic(const ShuffleKey& shuffle, const std::string& path,
                       std::string_view name) override;
  void generic_appeared(const ShuffleKey& shuffle, std::string name) override;
  void generic_removed(const ShuffleKey& shuffle, std::string name) override;
  [[nodiscard]] bool is_committed(const ShuffleKey& shuffle, MapId map) const override;
  [[nodiscard]] bool has_quotas() const override { return parts_.app_quota > 0; }
  Status check_quota(const std::string& path) override;
  Status check_quota(const ShuffleKey& shuffle) override;

  // Finds what is committed on the disks. Blocks; before the mount is up, or on a disk thread.
  bool scan();
  // False if the disk could not be read when the scan, or something new, was looked at: the list of
  // map outputs must not be taken for all of them then. True again after a scan() that reads all.
  [[nodiscard]] bool is_complete() const { return complete_.load(); }
  // Files and directories of Spark's that have appeared and have not been looked at to the end:
  // there may be map outputs that are not listed yet.
  [[nodiscard]] uint64_t looks_under_way() const { return looks_under_way_.load(); }
  // Forgets the shuffle's map outputs and moves the generic ones into the trash. Blocks.
  [[nodiscard]] Status drop(const ShuffleKey& shuffle);
  // The last few refusals, newest last.
  [[nodiscard]] std::vector<std::string> refused(const ShuffleKey& shuffle) const;
  // Shuffles for which this node has a place for generic map outputs, with or without any.
  [[nodiscard]] std::vector<ShuffleKey> generic_shuffles() const;

 private:
  struct Halves {  // one of Spark's two files, waiting for the other
    std::string data_path;
    std::string index_path;
  };
  using SparkKey = std::pair<ShuffleKey, MapId>;

  void post_look(std::function<void()> look);
  void look_at_spark_file(const std::string& path, bool during_scan);
  void scan_tree(const std::string& directory);
  // A directory as the scan sees it. One that is not there is empty.
  [[nodiscard]] std::vector<DirectoryEntry> list_for_scan(const std::string& directory);
  // If the disk could not be read, there may be a map output that is not listed.
  void note_failure(const Error& error);
  [[nodiscard]] std::optional<AppId> application_of(const std::string& path);
  [[nodiscard]] Status check_quota_of(const AppId& app);
  [[nodiscard]] std::string generic_path(const ShuffleKey& shuffle) const;
  [[nodiscard]] Status claim(const MapOutput& output) const;
  void commit(MapOutput output);
  void refuse(const ShuffleKey& shuffle, const std::string& what, const Error& error);
  void removed(const std::optional<MapOutput>& output) const;

  Parts parts_;
  Counter& commits_;
  Counter& refusals_;
  std::mutex spark_mu_;                // one Spark file is looked at at a time
  std::map<SparkKey, Halves> halves_;  // GUARDED_BY(spark_mu_)
  std::atomic<bool> complete_{true};
  std::atomic<uint64_t> looks_under_way_{0};
  mutable std::mutex refused_mu_;
  std::map<ShuffleKey, std::deque<std::string>> refused_;  // GUARDED_BY(refused_mu_)
};

}  // namespace shufflefs::merge
