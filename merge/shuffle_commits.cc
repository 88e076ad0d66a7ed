#include "merge/shuffle_commits.h"

#include <algorithm>

namespace shufflefs::merge {

ShuffleCommits::Place ShuffleCommits::place_of(MapId map) const {
  const auto it = pieces_.find(number(map) / kPiece);
  return {it == pieces_.end() ? nullptr : &it->second, number(map) % kPiece};
}

CommitId ShuffleCommits::current(MapId map) const {
  const MutexLock lock(mu_);
  const Place place = place_of(map);
  return place.is_current() ? place.id() : CommitId{};
}

Standing ShuffleCommits::standing(const MapCommit& commit) const {
  const MutexLock lock(mu_);
  return standing_of(commit);
}

Standing ShuffleCommits::standing_of(const MapCommit& commit) const {
  const auto ranges = ranges_.find(commit.id.origin);
  if (ranges != ranges_.end() && ranges->second.contains(commit.id.commit))
    return Standing::kRemoved;
  const Place place = place_of(commit.map);
  if (place.is_known() && place.id() == commit.id)
    return place.is_current() ? Standing::kCurrent : Standing::kRemoved;
  if (over_.contains(commit)) return Standing::kRemoved;
  if (place.is_current() && commit.id < place.id()) return Standing::kReplaced;
  return Standing::kUnknown;
}

Standing ShuffleCommits::note(const MapCommit& commit) {
  const MutexLock lock(mu_);
  return note_one(commit);
}

Standing ShuffleCommits::note_one(const MapCommit& commit) {
  const Standing before = standing_of(commit);
  if (before != Standing::kUnknown) return before;
  const Place place = place_of(commit.map);
  if (place.is_known()) {
    const MapCommit earlier{commit.map, place.id()};
    if (place.is_current()) list(earlier);
    over_.insert(earlier);
  }
  set(commit, false);
  return Standing::kCurrent;
}

void ShuffleCommits::remove(const MapCommit& commit) {
  const MutexLock lock(mu_);
  remove_one(commit);
}

void ShuffleCommits::remove_one(const MapCommit& commit) {
  const Standing before = standing_of(commit);
  if (before == Standing::kRemoved) return;
  if (before == Standing::kCurrent) list(commit);
  if (before == Standing::kCurrent || !place_of(commit.map).is_known())
    set(commit, true);
  else
    over_.insert(commit);
}

void ShuffleCommits::end_range(NodeTag origin, const CommitRange& range) {
  const MutexLock lock(mu_);
  if (!ranges_[origin].add(range)) return;
  for (auto& [number, piece] : pieces_) {
    for (std::size_t at = 0; at < kPiece; ++at) {
      if (!Place{&piece, at}.is_current()) continue;
      if (piece.ids[at].origin != origin || piece.ids[at].commit < range.first ||
          piece.ids[at].commit > range.last)
        continue;
      list({static_cast<MapId>(number * kPiece + at), piece.ids[at]});
      piece.removed = static_cast<uint16_t>(piece.removed | 1U << at);
    }
  }
}

ShuffleCommits::Learned ShuffleCommits::learn(std::span<const MapCommit> removed,
                                              std::span<const MapCommit> blocks) {
  const MutexLock lock(mu_);
  for (const MapCommit& commit : removed) remove_one(commit);
  Learned learned;
  for (const MapCommit& commit : blocks) {
    if (note_one(commit) != Standing::kCurrent) learned.over.push_back(commit);
  }
  learned.position = ended_.size();
  return learned;
}

std::vector<MapCommit> ShuffleCommits::since(uint64_t position) const {
  const MutexLock lock(mu_);
  if (position >= ended_.size()) return {};
  return {ended_.begin() + static_cast<std::ptrdiff_t>(position), ended_.end()};
}

void ShuffleCommits::set(const MapCommit& commit, bool removed) {
  Piece& piece = pieces_[number(commit.map) / kPiece];
  const std::size_t at = number(commit.map) % kPiece;
  const auto bit = static_cast<uint16_t>(1U << at);
  piece.ids[at] = commit.id;
  piece.known |= bit;
  piece.removed = static_cast<uint16_t>(removed ? piece.removed | bit : piece.removed & ~bit);
}

void ShuffleCommits::list(const MapCommit& ended) {
  ended_.push_back(ended);
  count_.store(ended_.size());
}

}  // namespace shufflefs::merge
