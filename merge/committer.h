// Recognises committed map outputs (CommitSink): looks at the files, checks them, and tells the
// table (merge/shuffle_table.h) what was committed and what was removed. After a restart scan()
// finds what the table's log does not know.
//
// Threads: any. spark_file_appeared and application_named work on a disk thread; removals and
// generic_appeared work at once, so that an event is in the log when the call that made it returns.
// Failure: a bad output is logged (commit.refused), remembered for the shuffle's status, and left
// where it is.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "merge/app_owners.h"
#include "merge/commits.h"
#include "merge/shuffle_table.h"
#include "merge/trash.h"

namespace shufflefs::merge {

// Of the directories in which every user's jobs write, as /tmp: everybody may create, nobody
// removes what is another's.
inline constexpr uint32_t kSharedDirectory = 01777;
// Of the map outputs of one user's application.
inline constexpr uint32_t kOwnersDirectory = 0750;

struct LifePlace;

class Committer final : public CommitSink {
 public:
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    Metrics& metrics;
    ShuffleTable& table;
    Trash& trash;
    std::vector<std::string> data_dirs;
    // Called on any thread, when the table's log has it.
    std::function<void(const MapOutputRef&)> on_committed;
    std::function<void(const MapOutputRef&)> on_ended;
    // The application whose executor has registered exactly this directory. Any thread.
    std::function<std::optional<AppId>(const std::string&)> registered = {};
    AppOwners* owners = nullptr;  // none: anybody's
    uint64_t app_quota = 0;       // bytes of committed map outputs of an application; 0: no quota
    // Returns when the other members know what was committed, or after a second: who commits
    // through the mount has its answer only then. May be absent. Not for disk threads, which it
    // needs.
    std::function<void()> wait_until_told = {};
    // Whether something has happened below local/ of which we are still to be told. Any thread.
    std::function<bool()> has_unread_events = {};
  };
  explicit Committer(Parts parts);

  using CommitSink::spark_file_appeared;
  void spark_file_appeared(std::string path, uint64_t drops) override;
  [[nodiscard]] uint64_t drops_heard() const override { return parts_.table.drops_heard(); }
  void spark_file_removed(std::string path) override;
  void spark_files_removed() override;
  void spark_events_lost(uint64_t drops) override;
  void application_named(std::string directory) override;
  void directory_left(std::string directory) override;
  Result<std::string> generic_directory(const ShuffleKey& shuffle, bool create) override;
  Status check_generic(const ShuffleKey& shuffle, const std::string& path,
                       std::string_view name) override;
  void generic_appeared(const ShuffleKey& shuffle, std::string name) override;
  void generic_removed(const ShuffleKey& shuffle, std::string name) override;
  [[nodiscard]] bool is_committed(const ShuffleKey& shuffle, MapId map) const override;
  [[nodiscard]] bool has_quotas() const override { return parts_.app_quota > 0; }
  Status check_quota(const std::string& path) override;
  Status check_quota(const ShuffleKey& shuffle) override;

  // Finds what is committed on the disks and not known. Blocks; before the mount is up, or on a
  // disk thread. True if all disks could be read.
  bool scan();
  // Scans those again that could not be read.
  bool scan_unread();
  // Why the table may lack map outputs that are on the disks: one could not be read when it was
  // scanned, or when something new was looked at. Empty if none may be missing. Any thread.
  [[nodiscard]] std::string incomplete() const;
  // Files of the shuffle have, or may have, appeared that are still to be looked at, or could not
  // be. Any thread.
  [[nodiscard]] bool is_looking(ShuffleId shuffle) const;
  // Files and directories of Spark's that have appeared and have not been looked at to the end:
  // there may be map outputs that are not listed yet.
  [[nodiscard]] uint64_t looks_under_way() const;
  // The files of map outputs of earlier lives of the shuffle's name go into the trash. Blocks.
  [[nodiscard]] Status discard_dropped(const ShuffleKey& shuffle);
  // Shuffles for which this node has a place for generic map outputs, with or without any. Blocks.
  [[nodiscard]] std::vector<ShuffleKey> generic_shuffles() const;

 private:
  struct Halves {  // one of Spark's two files, waiting for the other
    std::string data_path;
    std::string index_path;
  };
  using SparkKey = std::pair<ShuffleKey, MapId>;

  // Nothing: of any shuffle.
  void post_look(std::optional<ShuffleId> shuffle, std::function<void()> look);
  // `drops`: ShuffleTable::drops_heard() when it appeared; nothing: a scan has come upon it.
  void look_at_spark_file(const std::string& path, std::optional<uint64_t> drops);
  // Code::kIo: the disk could not tell whether there is a map output.
  Status inspect_spark_file(const std::string& path, const SparkName& name,
                            std::optional<uint64_t> drops);
  void learn_lives(const std::vector<LifePlace>& maps);
  void scan_disk(const std::string& data_dir, const std::vector<LifePlace>& maps);
  void scan_tree(const std::string& directory, std::optional<uint64_t> drops);
  // A directory as the scan sees it. One that is not there is empty.
  [[nodiscard]] std::vector<DirectoryEntry> list_for_scan(const std::string& directory);
  // If the disk could not be read, there may be a map output that is not listed.
  void note_failure(const std::string& path, const Error& error);
  [[nodiscard]] Result<std::optional<AppId>> application_of(const std::string& path);
  [[nodiscard]] Status check_quota_of(const AppId& app);
  [[nodiscard]] std::string data_dir_of(const ShuffleKey& shuffle) const;
  // Of the current life of the name.
  [[nodiscard]] std::string generic_path(const ShuffleKey& shuffle) const;
  [[nodiscard]] std::string list_path(const ShuffleKey& shuffle, MapId map) const;
  [[nodiscard]] Status claim(const MapOutput& output) const;
  // Whether anything was committed.
  bool look_at_generic(const ShuffleKey& shuffle, const std::string& name);
  bool commit(Inspected inspected, std::optional<uint64_t> drops = {});
  void refuse(const ShuffleKey& shuffle, const std::string& what, const Error& error);
  void ended(const MapOutputRef& output);

  Parts parts_;
  Counter& commits_;
  Counter& refusals_;
  Counter& index_reads_;
  Mutex spark_mu_;  // one Spark file is looked at at a time; held over I/O, by disk threads only
  std::map<SparkKey, Halves> halves_ GUARDED_BY(spark_mu_);
  mutable Mutex unread_mu_;
  std::map<std::string, std::string> unread_ GUARDED_BY(unread_mu_);  // by data directory: why
  std::map<std::optional<ShuffleId>, uint64_t> looks_ GUARDED_BY(unread_mu_);  // to be made
  // Files whose disk failed when they were looked at. Nobody else can know of such a map output.
  std::map<std::string, ShuffleId> unlooked_ GUARDED_BY(unread_mu_);
};

}  // namespace shufflefs::merge
