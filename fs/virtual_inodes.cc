#include "fs/virtual_inodes.h"

#include <algorithm>

namespace shufflefs::fs {

fuse_ino_t VirtualInodes::remember(const VirtualNode& node) {
  if (node.kind == NodeKind::kRoot) return FUSE_ROOT_ID;
  std::string path = path_of(node);
  const std::lock_guard lock(mu_);
  const auto [it, inserted] = by_path_.try_emplace(std::move(path), next_);
  if (inserted) known_.emplace(next_++, Known{node, 0});
  ++known_.at(it->second).lookups;
  return it->second;
}

std::optional<VirtualNode> VirtualInodes::find(fuse_ino_t ino) const {
  if (ino == FUSE_ROOT_ID) return VirtualNode{};
  const std::lock_guard lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return std::nullopt;
  return it->second.node;
}

void VirtualInodes::forget(fuse_ino_t ino, uint64_t count) {
  const std::lock_guard lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return;
  it->second.lookups -= std::min(count, it->second.lookups);
  if (it->second.lookups > 0) return;
  const auto path = by_path_.find(path_of(it->second.node));
  if (path != by_path_.end() && path->second == ino) by_path_.erase(path);
  known_.erase(it);
}

void VirtualInodes::retire(fuse_ino_t ino) {
  const std::lock_guard lock(mu_);
  const auto it = known_.find(ino);
  if (it == known_.end()) return;
  const auto path = by_path_.find(path_of(it->second.node));
  if (path != by_path_.end() && path->second == ino) by_path_.erase(path);
}

void VirtualInodes::retire(const VirtualNode& node) {
  const std::lock_guard lock(mu_);
  by_path_.erase(path_of(node));
}

std::size_t VirtualInodes::size() const {
  const std::lock_guard lock(mu_);
  return known_.size();
}

}  // namespace shufflefs::fs
