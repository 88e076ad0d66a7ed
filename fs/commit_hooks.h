// Where commits are noticed: the hooks of local/ (CommitWatch) and of maps/ (GenericMaps).
//
// Threads: FUSE threads, concurrently. Ownership: the CommitSink outlives them.
#pragma once

#include <functional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "fs/tree_hooks.h"
#include "merge/commits.h"

namespace shufflefs::fs {

// Notices under local/disk<i> when Spark commits a map output: shuffle_<s>_<m>_0.data or .index
// gets its final name (by rename, link or the last close of a file written in place), loses it, or
// the application of a directory is named by the attribute user.shufflefs.app. It only reports:
// Spark's local dir is Spark's. The one thing that is refused is a new name for an application that
// is above its quota (EDQUOT).
//
// Out of scope: renaming a directory that contains map outputs. Spark never does; they are found at
// the next scan.
//
// Failure: a path that cannot be learnt is logged (commit.path_unknown) and the map output is found
// at the next scan. Cost: a prefix comparison for all other names.
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

// Whether the mount has the file with that device and inode number open for writing.
using OpenForWriting = std::function<bool(uint64_t device, uint64_t inode)>;

// Whether nobody can change the bytes of a file any more: a map output is committed only then. The
// disk's file system is asked (it refuses a read lease while anybody has write access, also by a
// mapping whose descriptor is closed); where it has no leases, the mount's open files count.
//
// `path`: a file, or a directory of files. kRefused with EBUSY: open for writing (may pass);
// kInvalidArgument with EMLINK: more than one name; EINVAL: not a regular file. What is not there
// is settled. Cost: five system calls a file; writes nothing to the disk.
[[nodiscard]] Status check_settled(const std::string& path, const OpenForWriting& is_open);

[[nodiscard]] inline bool may_settle(const Error& error) { return error.code == Code::kRefused; }

// The rules of shuffles/<app>/<shuffle>/maps/: a native tree in which map outputs of any engine are
// written under a temporary name (.anything) and committed by a rename, or as a pair <mapId>.data,
// <mapId>.index.
//
// Names in the tree's root must be known (merge::parse_generic_name); <mapId> alone is only ever
// the target of a rename. A rename onto a final name is refused, with the reason, unless what
// arrives is consistent; it stays under its temporary name. What is committed is immutable, and may
// be removed; removing a file of a committed directory takes back the whole map output. A file is
// not committed while anybody could still change it (check_settled); a close that the kernel has
// not yet told us of is waited for.
//
// Ownership: one for each shuffle that is shown. Failure: EINVAL for names and contents that do not
// parse, EROFS for changes to what is committed, EBUSY and EMLINK for what could still be changed,
// EDQUOT above the application's quota; each refusal is logged as commit.refused. Cost: a parse;
// one readlink for a change below the root; a stat for a final name; five system calls for each
// file that is committed.
class GenericMaps final : public TreeHooks {
 public:
  // `root` is the tree's directory, without symbolic links in it. `changed` is called after each
  // commit and removal.
  GenericMaps(merge::CommitSink& sink, merge::ShuffleKey shuffle, std::string root,
              std::function<void()> changed, OpenForWriting is_open = {})
      : sink_(sink),
        shuffle_(std::move(shuffle)),
        root_(std::move(root)),
        changed_(std::move(changed)),
        is_open_(std::move(is_open)) {}

  [[nodiscard]] ChangeScope change_scope() override { return ChangeScope(gate_); }
  [[nodiscard]] Result<CommitScope> commit_scope(const NameInTree& from,
                                                 const NameInTree& to) override;
  Status before_attributes(const NameInTree& target) override;
  Status before_link(const NameInTree& to, nlink_t links) override;
  Status before_change(const NameInTree& target) override;
  Status before_rename(const NameInTree& from, const NameInTree& to) override;
  void after_rename(const NameInTree& from, const NameInTree& to) override;
  void after_link(const NameInTree& to) override;
  void after_remove(const NameInTree& target, bool was_directory) override;
  void after_write_close(const std::string& path) override;

 private:
  // The name in the root that `target` is or is below; "" if it is in no directory of ours (any
  // more).
  [[nodiscard]] std::string top_name(const NameInTree& target) const;
  [[nodiscard]] bool is_committed(std::string_view top) const;
  [[nodiscard]] Status check_new_name(const NameInTree& target) const;
  [[nodiscard]] Status check_target(const NameInTree& from, const NameInTree& to) const;
  [[nodiscard]] Error refuse(Code code, std::string_view name, std::string reason) const;
  void log_refusal(std::string_view name, const Error& error) const;
  // With the gate held, when nobody can change the files (any more).
  [[nodiscard]] Result<CommitScope> settle(const std::vector<std::string>& paths);
  // A half of a pair got its name or was closed, without a rename that could be refused.
  void appeared_in_place(std::string_view name);
  void appeared(std::string_view name);

  merge::CommitSink& sink_;
  const merge::ShuffleKey shuffle_;
  const std::string root_;
  const std::function<void()> changed_;
  const OpenForWriting is_open_;
  std::shared_mutex gate_;
};

}  // namespace shufflefs::fs
