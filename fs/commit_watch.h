// Notices under local/disk<i> when Spark commits a map output: shuffle_<s>_<m>_0.data or .index
// gets its final name (by rename, link or the last close of a file written in place), loses it, or
// the application of a directory is named by the attribute user.shufflefs.app. It only reports:
// Spark's local dir is Spark's. The one thing that is refused is a new name for an application that
// is above its quota (EDQUOT).
//
// Out of scope: renaming a directory that contains map outputs. Spark never does; they are found at
// the next scan.
//
// Threads: FUSE threads, concurrently. Ownership: `sink` outlives it. Failure: a path that cannot
// be learnt is logged (commit.path_unknown) and the map output is found at the next scan. Cost: a
// prefix comparison for all other names.
#pragma once

#include "fs/tree_hooks.h"
#include "merge/commits.h"

namespace shufflefs::fs {

class CommitWatch final : public TreeHooks {
 public:
  explicit CommitWatch(merge::CommitSink& sink) : sink_(sink) {}

  [[nodiscard]] bool guards_writes() const override { return false; }
  Status before_change(const NameInTree& target) override;
  void after_rename(const NameInTree& from, const NameInTree& to) override;
  void after_link(const NameInTree& to) override;
  void after_remove(const NameInTree& target, bool was_directory) override;
  void after_write_close(const std::string& path) override;
  void after_attribute(const std::string& path, std::string_view attribute) override;

 private:
  void appeared(const NameInTree& name);
  void removed(const NameInTree& name);

  merge::CommitSink& sink_;
};

}  // namespace shufflefs::fs
