// What is in the virtual half: which nodes exist, how large they are, what is in a directory, what
// an open gives. No FUSE in here. Things that this node knows are answered at once (the ..._now
// functions); the rest asks the catalog.
//
// Threads: the ..._now functions and places() on any thread; the coroutines on the reactor.
// Ownership: the references outlive it. Failure: kNotFound for what does not exist; a peer's errors
// as they come, within the peers' deadlines. Cost: a question to each live member for partitions,
// remembered for a second (RecentFacts), except by open().
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/bounded_offload.h"
#include "base/gate.h"
#include "fs/checked_files.h"
#include "fs/namespace.h"
#include "fs/virtual_facts.h"
#include "fs/virtual_file.h"
#include "fs/virtual_handles.h"
#include "fs/virtual_places.h"
#include "merge/engine.h"

namespace shufflefs::fs {

// The files of .shufflefs/: their texts, made on the reactor when they are looked at.
using InfoTexts = std::map<std::string, std::function<Task<std::string>()>, std::less<>>;

// Which of the shuffle's `count` partitions have bytes; empty if that cannot be said.
using PartitionFinder =
    std::function<Task<std::vector<merge::PartitionId>>(merge::ShuffleKey, uint32_t count)>;

// kNotFound, by the node's path.
[[nodiscard]] Error missing(const VirtualNode& node);

class VirtualContents {
 public:
  // `client_dir`: whose regular files .shufflefs/client/ shows; empty: none.
  VirtualContents(merge::Engine& engine, merge::Cluster& cluster, InfoTexts texts,
                  Fd saved_apps = Fd(), std::string client_dir = {})
      : engine_(engine),
        cluster_(cluster),
        texts_(std::move(texts)),
        client_dir_(std::move(client_dir)),
        places_(engine, std::move(saved_apps)),
        looks_(engine.runtime(), "a look at local directories", std::chrono::seconds(2)),
        gate_(engine.runtime(), "contents") {}

  // Of a shuffle with more partitions than merge::kMostListed, partitions/ shows what `finder`
  // finds. Before the first request.
  void list_wide_by(PartitionFinder finder) { finder_ = std::move(finder); }
  // Ends what is under way by itself. Reactor.
  [[nodiscard]] Task<void> close();
  // A merged file was found to be damaged: what was checked before is checked again. Any thread.
  void check_again() { checked_.clear(); }

  [[nodiscard]] VirtualPlaces& places() { return places_; }
  [[nodiscard]] RecentFacts& recent() { return recent_; }
  // Something has been dropped through this mount: what was learnt before is not used any more.
  void dropped(const merge::AppId& app);

  // Facts of a node, or that it does not exist. Nothing: ask facts().
  [[nodiscard]] std::optional<Result<Facts>> facts_now(const VirtualNode& node);
  [[nodiscard]] Task<Result<Facts>> facts(VirtualNode node);

  // REQUIRES: is_directory(node.kind). Nothing: ask listing().
  [[nodiscard]] std::optional<Result<Listing>> listing_now(const VirtualNode& directory);
  [[nodiscard]] Task<Result<Listing>> listing(VirtualNode directory);

  struct Opened {
    std::shared_ptr<VirtualFile> file;
    std::optional<Fd> whole;  // the same bytes as a file of this node's disks that never changes:
                              // may be passed through
  };
  // As of now. REQUIRES: !is_directory(node.kind).
  [[nodiscard]] Task<Result<Opened>> open(VirtualNode node);

  // The extended attributes that a kind of node has; their values are in its Facts (which may lack
  // some).
  [[nodiscard]] static std::vector<std::string> attribute_names(NodeKind kind);

 private:
  // Changes when the shuffle that the node is of is dropped, as far as this node has heard.
  [[nodiscard]] uint64_t life_of(const VirtualNode& node) const;
  // What was learnt a moment ago, and not before a drop.
  [[nodiscard]] std::optional<Facts> recent_facts(const VirtualNode& node) const;
  [[nodiscard]] Task<Result<Facts>> learn(VirtualNode node);
  [[nodiscard]] Task<Result<Facts>> shuffle_exists(VirtualNode node);
  [[nodiscard]] Task<Result<Facts>> shuffle_facts(merge::ShuffleKey key);
  [[nodiscard]] Task<Result<Facts>> partition_facts(VirtualNode node);
  [[nodiscard]] Task<Result<Facts>> text_facts(VirtualNode node);
  [[nodiscard]] Result<Facts> map_file_facts(const VirtualNode& node);
  [[nodiscard]] Result<Facts> jar_facts(const VirtualNode& node) const;

  [[nodiscard]] Task<bool> has_partition(merge::ShuffleKey key, merge::PartitionId partition);
  [[nodiscard]] Task<uint32_t> partition_count(merge::ShuffleKey key);
  [[nodiscard]] Task<Result<std::string>> text_of(VirtualNode node);

  enum class Passed { kUnchecked, kChecked };  // to the kernel
  [[nodiscard]] Task<Result<Opened>> open_plan(merge::PartitionPlan plan, Passed passed);
  // The file, if it holds what the checksums of the plan say. A small one is looked at now. Of a
  // large one that was not looked at yet nothing is returned, and it is looked at meanwhile.
  [[nodiscard]] Task<std::optional<Fd>> checked(Fd file, const merge::PartitionPlan& plan);
  // True: it is right.
  [[nodiscard]] Task<bool> check(int fd, FileIdentity file, FileCheck check);
  [[nodiscard]] Task<void> check_meanwhile(Fd fd, FileIdentity file, FileCheck check);
  [[nodiscard]] Result<Opened> open_map_file(const VirtualNode& node);  // looks at the disk
  [[nodiscard]] Result<Opened> open_jar(const VirtualNode& node) const;
  [[nodiscard]] std::vector<std::string> jar_names() const;
  [[nodiscard]] Task<Listing> partition_listing(VirtualNode directory);

  merge::Engine& engine_;
  merge::Cluster& cluster_;
  const InfoTexts texts_;
  PartitionFinder finder_;
  const std::string client_dir_;
  VirtualPlaces places_;
  RecentFacts recent_;
  CheckedFiles checked_;
  std::set<FileIdentity> being_checked_;  // reactor only
  std::atomic<uint32_t> drops_ = 0;       // through this mount
  BoundedOffload looks_;
  Gate gate_;
};

}  // namespace shufflefs::fs
