#include "fs/virtual_inodes.h"

#include <algorithm>

namespace shufflefs::fs {
namespace {

template <class Record>
Record make_record(uint64_t nodeid, std::string_view path) {
  Record record;
  record.nodeid = nodeid;
  record.length = static_cast<uint32_t>(std::min(path.size(), record.path.size()));
  std::copy_n(path.begin(), record.length, record.path.begin());
  return record;
}

template <class Table>
void add_all(const Table& table, bool is_long, std::vector<SavedNames::Name>& names) {
  for (const uint32_t at : table.all()) {
    const auto& record = table[at];
    names.push_back({{is_long, at},
                     record.nodeid,
                     record.lookups,
                     record.retired != 0,
                     std::string(record.path.data(), record.length)});
  }
}

// The node that has this path, if it still means anything.
std::optional<VirtualPath> node_at(std::string_view path) {
  VirtualPath node;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    auto next = child(node, path.substr(0, slash));
    if (!next) return std::nullopt;
    node = std::move(*next);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return node;
}

}  // namespace

SavedNames::Place SavedNames::add(uint64_t nodeid, std::string_view path) {
  if (path.size() <= kShortPath)
    return {false, short_.add(make_record<Record<kShortPath>>(nodeid, path))};
  return {true, long_.add(make_record<Record<kMaxPathBytes>>(nodeid, path))};
}

void SavedNames::remove(Place place) {
  if (place.is_long)
    long_.remove(place.record);
  else
    short_.remove(place.record);
}

uint64_t& SavedNames::lookups(Place place) {
  return place.is_long ? long_[place.record].lookups : short_[place.record].lookups;
}

void SavedNames::retire(Place place) {
  (place.is_long ? long_[place.record].retired : short_[place.record].retired) = 1;
}

std::vector<SavedNames::Name> SavedNames::all() const {
  std::vector<Name> names;
  add_all(short_, false, names);
  add_all(long_, true, names);
  return names;
}

VirtualInodes::VirtualInodes(Fd saved_short, Fd saved_long)
    : saved_(std::move(saved_short), std::move(saved_long)) {
  uint64_t& highest = saved_.highest();
  if (highest <= kVirtualInodeBit || highest >= 2 * kVirtualInodeBit)
    highest = kVirtualInodeBit + 1;
  for (const SavedNames::Name& name : saved_.all()) {
    const std::optional<VirtualPath> node = node_at(name.path);
    // Names that this version does not know, or would not write so.
    if (!node || node->kind == PathKind::kRoot || path_of(*node) != name.path) continue;
    if (name.nodeid <= kVirtualInodeBit || name.nodeid >= 2 * kVirtualInodeBit) continue;
    if (!known_.emplace(name.nodeid, Known{*node, name.place}).second) continue;
    highest = std::max(highest, name.nodeid);
    if (!name.retired) by_path_.emplace(name.path, name.nodeid);
  }
}

fuse_ino_t VirtualInodes::remember(const VirtualPath& node) {
  if (node.kind == PathKind::kRoot) return FUSE_ROOT_ID;
  std::string path = path_of(node);
  const MutexLock lock(mu_);
  auto it = by_path_.find(path);
  if (it == by_path_.end()) {
    const fuse_ino_t ino = ++saved_.highest();
    known_.emplace(ino, Known{node, saved_.add(ino, path)});
    it = by_path_.emplace(std::move(path), ino).first;
  }
  ++saved_.lookups(known_.at(it->second).place);
  return it->second;
}

std::optional<VirtualPath> VirtualInodes::find(fuse_ino_t ino) const {
  if (ino == FUSE_ROOT_ID) return VirtualPath{};
  const MutexLock lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return std::nullopt;
  return it->second.node;
}

void VirtualInodes::forget(fuse_ino_t ino, uint64_t count) {
  const MutexLock lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return;
  uint64_t& lookups = saved_.lookups(it->second.place);
  lookups -= std::min(count, lookups);
  if (lookups > 0) return;
  const auto path = by_path_.find(path_of(it->second.node));
  if (path != by_path_.end() && path->second == ino) by_path_.erase(path);
  saved_.remove(it->second.place);
  known_.erase(it);
}

void VirtualInodes::retire_locked(ByPath::iterator path) {
  saved_.retire(known_.at(path->second).place);
  by_path_.erase(path);
}

void VirtualInodes::retire(fuse_ino_t ino) {
  const MutexLock lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return;
  const auto path = by_path_.find(path_of(it->second.node));
  if (path != by_path_.end() && path->second == ino) retire_locked(path);
}

void VirtualInodes::retire(const VirtualPath& node) {
  const MutexLock lock(mu_);
  const auto path = by_path_.find(path_of(node));
  if (path != by_path_.end()) retire_locked(path);
}

std::size_t VirtualInodes::size() const {
  const MutexLock lock(mu_);
  return known_.size();
}

}  // namespace shufflefs::fs
