// Which commit of each map output of a shuffle the merged partitions of this node hold, and which
// are over: removed at their origin, or replaced by a later commit. One table for all partitions of
// one life of a shuffle. Each partition takes what is over out of its view when it is used next:
// Spark removes the outputs of a shuffle one by one, and most often nobody looks at its partitions
// again.
//
// Threads: any; no disk is waited for under its lock, which is taken last. Memory: 19 bytes for
// each map output of a dense range of map ids (300 for a lonely one), 24 more when it is over, 72
// for a commit that has been replaced.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "merge/commit_id.h"

namespace shufflefs::merge {

// How a commit stands.
enum class Standing : uint8_t {
  kUnknown,   // never noted here, and nothing speaks against it
  kCurrent,   // its blocks count
  kRemoved,   // over
  kReplaced,  // a later commit of the map output is current
};

class ShuffleCommits {
 public:
  // The current commit of the map output; CommitId{} if there is none.
  [[nodiscard]] CommitId current(MapId map) const;
  [[nodiscard]] Standing standing(const MapCommit& commit) const;
  [[nodiscard]] bool is_current(const MapCommit& commit) const {
    return standing(commit) == Standing::kCurrent;
  }

  // A block of the commit is about to be merged: it is the current one from now on, and the one
  // before it is over, unless there is a later one or it is over itself. How it stands then.
  Standing note(const MapCommit& commit);
  // The commit was removed, whether it has been noted or will be.
  void remove(const MapCommit& commit);
  // All commits of the origin in the range are over, also those that will be noted.
  void end_range(NodeTag origin, const CommitRange& range);

  // What the index of a partition says, all at once: commits that are over, and the blocks of its
  // view. `over` are those blocks that have to go from the view; the others are of the commits that
  // were current at `position`.
  struct Learned {
    std::vector<MapCommit> over;
    uint64_t position = 0;
  };
  [[nodiscard]] Learned learn(std::span<const MapCommit> removed,
                              std::span<const MapCommit> blocks);

  // How many commits have ceased to be current: the positions in the order in which they did.
  [[nodiscard]] uint64_t count() const { return count_.load(); }
  [[nodiscard]] std::vector<MapCommit> since(uint64_t position) const;

 private:
  // 16 map ids in a row.
  static constexpr std::size_t kPiece = 16;
  struct Piece {
    std::array<CommitId, kPiece> ids;
    uint16_t known = 0;    // bits: ids[i] says something
    uint16_t removed = 0;  // bits: it is over, else it is current
  };
  // A place in a piece. `piece` is null if nothing is known.
  struct Place {
    const Piece* piece = nullptr;
    std::size_t at = 0;
    [[nodiscard]] bool is_known() const { return piece && (piece->known >> at & 1U) != 0; }
    [[nodiscard]] bool is_current() const { return is_known() && (piece->removed >> at & 1U) == 0; }
    [[nodiscard]] CommitId id() const { return piece->ids[at]; }
  };
  [[nodiscard]] Place place_of(MapId map) const REQUIRES(mu_);
  [[nodiscard]] Standing standing_of(const MapCommit& commit) const REQUIRES(mu_);
  Standing note_one(const MapCommit& commit) REQUIRES(mu_);
  void remove_one(const MapCommit& commit) REQUIRES(mu_);
  void set(const MapCommit& commit, bool removed) REQUIRES(mu_);
  void list(const MapCommit& ended) REQUIRES(mu_);

  mutable Mutex mu_;
  std::map<uint64_t, Piece> pieces_ GUARDED_BY(mu_);  // by map id / kPiece
  std::set<MapCommit> over_ GUARDED_BY(mu_);          // beside those in pieces_
  std::map<NodeTag, CommitRanges> ranges_ GUARDED_BY(mu_);
  std::vector<MapCommit> ended_ GUARDED_BY(mu_);  // were current
  std::atomic<uint64_t> count_{0};                // of ended_
};

}  // namespace shufflefs::merge
