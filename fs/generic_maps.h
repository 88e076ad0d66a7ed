// The rules of shuffles/<app>/<shuffle>/maps/: a native tree in which map outputs of any engine are
// written under a temporary name (.anything) and committed by a rename, or as a pair <mapId>.data,
// <mapId>.index.
//
// Names in the tree's root must be known (merge::parse_generic_name); <mapId> alone is only ever
// the target of a rename. A rename onto a final name is refused, with the reason, unless what
// arrives is consistent: nothing is lost, it stays under its temporary name. What is committed is
// immutable, and may be removed; removing a file of a committed directory takes back the whole map
// output. So a file is not committed while anybody could still change it (settled_files.h): who
// has just closed it is waited for, because the kernel tells the daemon of a close a little later.
//
// Threads: FUSE threads, concurrently. Ownership: one for each shuffle that is shown; `sink`
// outlives it. Failure: EINVAL for names and contents that do not parse, EROFS for changes to what
// is committed, EBUSY and EMLINK for what could still be changed, EDQUOT above the application's
// quota; each refusal is logged as commit.refused. Cost: a parse; one readlink for a change below
// the root; a stat for a final name; five system calls for each file that is committed.
#pragma once

#include <functional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "fs/settled_files.h"
#include "fs/tree_hooks.h"
#include "merge/commits.h"

namespace shufflefs::fs {

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
  [[nodiscard]] Result<CommitScope> commit_scope(const NameInTree& from, const NameInTree& to,
                                                 bool exchange) override;
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
