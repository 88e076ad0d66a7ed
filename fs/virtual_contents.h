// What is in the virtual half: which paths exist, how large they are, what is in a directory, what
// an open gives. No FUSE in here. The rows of namespace.cc name the functions for each kind of
// path; facts(), listing() and open() look them up.
//
// Threads: the ..._now functions and places() on any; the coroutines on the reactor. Ownership: the
// references outlive it. Failure: kNotFound for what does not exist. Cost: for partitions a
// question to each live member, remembered for a second (RecentFacts) except by open().
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bounded_offload.h"
#include "base/mutex.h"
#include "fs/checked_reads.h"
#include "fs/namespace.h"
#include "fs/virtual_opens.h"
#include "fs/virtual_places.h"
#include "merge/engine.h"

namespace shufflefs::fs {

// Extended attributes.
inline constexpr std::string_view kOwnerAttribute = "user.shufflefs.owner";
inline constexpr std::string_view kMapsAttribute = "user.shufflefs.maps";
inline constexpr std::string_view kMergedAttribute = "user.shufflefs.merged";
inline constexpr std::string_view kBytesAttribute = "user.shufflefs.bytes";
inline constexpr std::string_view kPartitionsAttribute = "user.shufflefs.partitions";

// What was learnt about a path.
struct Facts {
  uint64_t life = 0;        // VirtualContents::life_of() when it was asked for
  uint64_t size = 0;        // bytes of a file
  uint32_t partitions = 0;  // partitions/: how many there are
  std::vector<std::pair<std::string, std::string>> attributes{};
  std::shared_ptr<const std::string> text{};  // of small generated files
};

// Facts that needed other nodes, kept for a moment: `ls -l` (lookup, getattr, getxattr) asks once,
// and `tar` (stat, open, fstat) sees one size. Opening a partition never uses them.
//
// Threads: any; own lock. Bound: kCapacity entries, texts of up to kTextBytes.
class RecentFacts {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kCapacity = 4096;
  static constexpr std::size_t kTextBytes = 64U << 10U;
  static constexpr std::chrono::milliseconds kFresh{1000};

  [[nodiscard]] std::optional<Facts> find(const std::string& path,
                                          Clock::time_point now = Clock::now()) const;
  void put(const std::string& path, Facts facts, Clock::time_point now = Clock::now());
  // Everything at or below a directory: something was committed or dropped there.
  void forget_below(std::string_view directory);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    Facts facts;
    Clock::time_point learnt;
  };
  void make_room(Clock::time_point now) REQUIRES(mu_);

  mutable Mutex mu_;
  std::map<std::string, Entry, std::less<>> entries_ GUARDED_BY(mu_);
};

struct OpenedFile {
  std::shared_ptr<VirtualFile> file;
  // The same bytes as a file of this node's disks that never changes: may be passed through.
  std::optional<Fd> whole{};
};

// The files of .shufflefs/: their texts, made on the reactor when they are looked at.
using InfoTexts = std::map<std::string, std::function<Task<std::string>()>, std::less<>>;

// Which of the shuffle's `count` partitions have bytes; empty if that cannot be said.
using PartitionFinder =
    std::function<Task<std::vector<merge::PartitionId>>(merge::ShuffleKey, uint32_t count)>;

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
        checks_(engine.runtime()),
        looks_(engine.runtime(), "a look at local directories", std::chrono::seconds(2)) {}

  // Of a shuffle with more partitions than merge::kMostListed, partitions/ shows what `finder`
  // finds. Before the first request.
  void list_wide_by(PartitionFinder finder) { finder_ = std::move(finder); }
  // Ends what is under way by itself. Reactor.
  [[nodiscard]] Task<void> close();
  // A merged file was found to be damaged: what was checked before is checked again. Any thread.
  void check_again() { checks_.forget(); }

  [[nodiscard]] VirtualPlaces& places() { return places_; }
  // Something was committed or removed in the shuffle's maps/.
  void changed(const merge::ShuffleKey& key) { recent_.forget_below("shuffles/" + to_string(key)); }
  // Something was dropped through this mount: what was learnt before is not used any more.
  void dropped(const merge::AppId& app);

  // Facts of a path, or that it does not exist. Nothing: ask facts().
  [[nodiscard]] std::optional<Result<Facts>> facts_now(const VirtualPath& path);
  [[nodiscard]] Task<Result<Facts>> facts(VirtualPath path);

  // REQUIRES: is_directory(directory.kind). Nothing: ask listing().
  [[nodiscard]] std::optional<Result<Listing>> listing_now(const VirtualPath& directory);
  [[nodiscard]] Task<Result<Listing>> listing(VirtualPath directory);

  // As of now. REQUIRES: !is_directory(path.kind).
  [[nodiscard]] Task<Result<OpenedFile>> open(VirtualPath path);

  // ---- what the rows of namespace.cc name

  using Look = std::optional<Result<Facts>>;
  [[nodiscard]] Look look_for_disk(const VirtualPath& path);
  [[nodiscard]] Look look_for_app(const VirtualPath& path);
  [[nodiscard]] Look look_for_shuffle(const VirtualPath& path);
  [[nodiscard]] Look look_for_map_file(const VirtualPath& path);
  [[nodiscard]] Look look_for_jar(const VirtualPath& path);

  [[nodiscard]] Task<Result<Facts>> learn_if_known(VirtualPath path);
  [[nodiscard]] Task<Result<Facts>> learn_shuffle(VirtualPath path);
  [[nodiscard]] Task<Result<Facts>> learn_partition(VirtualPath path);

  [[nodiscard]] Task<Result<std::string>> status_text(VirtualPath path);
  [[nodiscard]] Task<Result<std::string>> owners_text(VirtualPath path);
  [[nodiscard]] Task<Result<std::string>> info_text(VirtualPath path);

  using Names = std::vector<std::string>;
  [[nodiscard]] Names disk_names(const VirtualPath& directory);
  [[nodiscard]] Names map_names(const VirtualPath& directory);
  [[nodiscard]] Names info_names(const VirtualPath& directory);
  [[nodiscard]] Names jar_names(const VirtualPath& directory);

  [[nodiscard]] Task<Result<Listing>> list_apps(VirtualPath directory);
  [[nodiscard]] Task<Result<Listing>> list_shuffles(VirtualPath directory);
  [[nodiscard]] Task<Result<Listing>> list_partitions(VirtualPath directory);

  [[nodiscard]] Task<Result<OpenedFile>> open_partition(VirtualPath path);
  [[nodiscard]] Task<Result<OpenedFile>> open_merged(VirtualPath path);
  [[nodiscard]] Task<Result<OpenedFile>> open_index(VirtualPath path);
  [[nodiscard]] Task<Result<OpenedFile>> open_map_file(VirtualPath path);
  [[nodiscard]] Task<Result<OpenedFile>> open_jar(VirtualPath path);
  [[nodiscard]] Task<Result<OpenedFile>> open_report(VirtualPath path);

 private:
  // Changes when the shuffle that the path is of is dropped, as far as this node has heard.
  [[nodiscard]] uint64_t life_of(const VirtualPath& path) const;
  // What was learnt a moment ago, and not before a drop.
  [[nodiscard]] std::optional<Facts> recent_facts(const VirtualPath& path) const;
  [[nodiscard]] Task<Result<Facts>> learn(VirtualPath path);
  [[nodiscard]] Task<bool> has_partition(merge::ShuffleKey key, merge::PartitionId partition);
  [[nodiscard]] Task<uint32_t> partition_count(merge::ShuffleKey key);
  // A disk thread.
  [[nodiscard]] Result<std::shared_ptr<VirtualFile>> open_on_disk(const std::string& path,
                                                                  uint64_t bytes, int flags) const;
  [[nodiscard]] Task<Result<OpenedFile>> open_plan(merge::PartitionPlan plan, bool checks);

  merge::Engine& engine_;
  merge::Cluster& cluster_;
  const InfoTexts texts_;
  PartitionFinder finder_;
  const std::string client_dir_;
  VirtualPlaces places_;
  RecentFacts recent_;
  MergedFileChecks checks_;
  std::atomic<uint32_t> drops_ = 0;  // through this mount
  BoundedOffload looks_;
};

}  // namespace shufflefs::fs
