#include "fs/virtual_handles.h"

#include <utility>

namespace shufflefs::fs {

Listing::Listing(VirtualNode directory, std::vector<std::string> names, uint32_t partitions)
    : directory_(std::move(directory)), names_(std::move(names)), partitions_(partitions) {}

std::string Listing::name_at(uint64_t position) const {
  if (position < names_.size()) return names_[position];
  constexpr std::string_view kSuffixes[] = {"", ".merged", ".index"};
  const uint64_t computed = position - names_.size();
  return std::to_string(computed / 3).append(kSuffixes[computed % 3]);
}

Listing::Entry Listing::entry(uint64_t position) const {
  Entry entry;
  if (position < 2) {
    entry.name = position == 0 ? "." : "..";
    entry.attr.st_ino = stable_inode_number(directory_);
    entry.attr.st_mode = S_IFDIR;
    return entry;
  }
  entry.name = name_at(position - 2);
  if (const auto node = child(directory_, entry.name)) {
    entry.attr.st_ino = stable_inode_number(*node);
    entry.attr.st_mode = mode_of(node->kind);
  }
  return entry;
}

uint64_t VirtualHandles::add(VirtualOpen open) {
  const std::lock_guard lock(mu_);
  opens_.emplace(next_, std::move(open));
  return next_++;
}

VirtualOpen VirtualHandles::find(uint64_t key) const {
  const std::lock_guard lock(mu_);
  const auto it = opens_.find(key);
  return it == opens_.end() ? VirtualOpen{} : it->second;
}

VirtualOpen VirtualHandles::remove(uint64_t key) {
  const std::lock_guard lock(mu_);
  auto taken = opens_.extract(key);
  return taken.empty() ? VirtualOpen{} : std::move(taken.mapped());
}

std::vector<VirtualOpen> VirtualHandles::remove_all() {
  const std::lock_guard lock(mu_);
  std::vector<VirtualOpen> all;
  all.reserve(opens_.size());
  for (auto& [key, open] : opens_) all.push_back(std::move(open));
  opens_.clear();
  return all;
}

}  // namespace shufflefs::fs
