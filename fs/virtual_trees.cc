#include "fs/virtual_trees.h"

#include <sys/stat.h>

#include <filesystem>

#include "base/reactor_mark.h"

namespace shufflefs::fs {

using merge::ShuffleKey;

VirtualTrees::VirtualTrees(NativeFs& native, merge::Engine& engine,
                           std::function<void(const ShuffleKey&)> changed)
    : native_(native),
      engine_(engine),
      changed_(std::move(changed)),
      commit_watch_(engine.commits()) {}

Status VirtualTrees::add_disks() {
  for (std::size_t i = 0; i < engine_.disks(); ++i) {
    TRY_ASSIGN(const TreeId tree, native_.add_tree(engine_.local_root(i), commit_watch_));
    disks_.push_back(tree);
  }
  return ok();
}

std::unique_ptr<GenericMaps> VirtualTrees::make_hooks(const ShuffleKey& key, std::string root) {
  return std::make_unique<GenericMaps>(
      engine_.commits(), key, std::move(root), [this, key] { changed_(key); },
      [this](uint64_t device, uint64_t inode) {
        return native_.is_open_for_writing(device, inode);
      });
}

void VirtualTrees::restore() {
  const MutexLock lock(mu_);
  for (const TreeRecord& record : native_.saved_trees()) {
    const auto key = merge::parse_shuffle_key(record.label.data());
    if (!key) continue;
    const auto directory = engine_.commits().generic_directory(*key, false);
    const std::string path = directory ? *directory : std::string();
    std::error_code failed;
    std::string root = std::filesystem::canonical(path, failed).string();
    auto hooks = make_hooks(*key, std::move(root));
    if (!native_.restore_tree(record, path, *hooks)) continue;
    hooks_.push_back(std::move(hooks));
    if (record.removed == 0 && directory)
      shown_.insert_or_assign(*key, Shown{record.id, path, record.device, record.root_inode});
  }
}

Result<fuse_entry_param> VirtualTrees::disk(std::size_t index) {
  if (index >= disks_.size()) return make_error(Code::kNotFound, "there is no such disk");
  return native_.lookup_root(disks_[index]);
}

bool VirtualTrees::Shown::is_still_there() const {
  struct stat attr{};
  on_disk_wait(directory);
  return ::stat(directory.c_str(), &attr) == 0 && attr.st_dev == device && attr.st_ino == inode;
}

void VirtualTrees::forget_dropped_locked() {
  for (auto it = shown_.begin(); it != shown_.end();) {
    const auto shown = it++;
    if (shown->second.is_still_there()) continue;
    native_.remove_tree(shown->second.tree);
    shown_.erase(shown);
  }
}

Result<TreeId> VirtualTrees::shown_tree(const ShuffleKey& key, const std::string& directory) {
  const MutexLock lock(mu_);
  const auto it = shown_.find(key);
  if (it != shown_.end() && it->second.is_still_there()) return it->second.tree;
  forget_dropped_locked();
  struct stat attr{};
  on_disk_wait(directory);
  if (::stat(directory.c_str(), &attr) != 0) return errno_error("cannot stat " + directory);
  std::error_code failed;
  const std::string root = std::filesystem::canonical(directory, failed).string();
  if (failed) return errno_error("cannot resolve " + directory, failed.value());
  auto hooks = make_hooks(key, root);
  TRY_ASSIGN(const TreeId tree,
             native_.add_tree(directory, *hooks, TreeOptions{.label = to_string(key)}));
  hooks_.push_back(std::move(hooks));
  shown_.insert_or_assign(key, Shown{tree, directory, attr.st_dev, attr.st_ino});
  return tree;
}

Result<fuse_entry_param> VirtualTrees::maps(const ShuffleKey& key, const std::string& directory) {
  TRY_ASSIGN(const TreeId tree, shown_tree(key, directory));
  TRY_ASSIGN(fuse_entry_param entry, native_.lookup_root(tree));
  entry.entry_timeout = 0;  // the shuffle may be dropped from another node, and maps/ made anew
  return entry;
}

void VirtualTrees::remove_app(const merge::AppId& app) {
  const MutexLock lock(mu_);
  for (auto it = shown_.lower_bound({app, merge::ShuffleId{}});
       it != shown_.end() && it->first.app == app;) {
    native_.remove_tree(it->second.tree);
    it = shown_.erase(it);
  }
}

void VirtualTrees::remove_shuffle(const ShuffleKey& key) {
  const MutexLock lock(mu_);
  const auto it = shown_.find(key);
  if (it == shown_.end()) return;
  native_.remove_tree(it->second.tree);
  shown_.erase(it);
}

}  // namespace shufflefs::fs
