#include "fs/virtual_places.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/check.h"

namespace shufflefs::fs {

using merge::AppId;
using merge::MapId;
using merge::ShuffleId;
using merge::ShuffleKey;

namespace {

// Root may make what is another's, and it stays the other's.
Status claim(merge::Engine& engine, const AppId& app, Owner creator) {
  if (creator.uid == 0 && engine.owners().find(app)) return ok();
  Status claimed = engine.owners().claim(app, creator);
  if (claimed) return ok();
  return make_error(Code::kPermission, claimed.error().message);
}

}  // namespace

std::optional<std::string> VirtualPlaces::existing_directory(const ShuffleKey& key) {
  auto path = engine_.commits().generic_directory(key, false);
  if (!path) return std::nullopt;
  return std::move(*path);
}

VirtualPlaces::VirtualPlaces(merge::Engine& engine, Fd saved_apps)
    : engine_(engine), saved_apps_(std::move(saved_apps), "empty-apps") {
  for (const uint32_t at : saved_apps_.all()) {
    const SavedApp& saved = saved_apps_[at];
    if (auto app = AppId::parse(saved.name.data()))
      apps_.emplace(std::move(*app), std::pair(saved.owner, at));
  }
}

void VirtualPlaces::add_app_locked(const AppId& app, Owner owner) {
  if (apps_.contains(app)) return;
  SavedApp saved;
  saved.owner = owner;
  std::ranges::copy(app.str(), saved.name.begin());  // at most 200 characters
  apps_.emplace(app, std::pair(owner, saved_apps_.add(saved)));
}

void VirtualPlaces::erase_app_locked(const AppId& app) {
  const auto it = apps_.find(app);
  if (it == apps_.end()) return;
  saved_apps_.remove(it->second.second);
  apps_.erase(it);
}

bool VirtualPlaces::has_app(const AppId& app) {
  {
    const MutexLock lock(mu_);
    if (apps_.contains(app)) return true;
  }
  return !shuffles(app).empty();
}

bool VirtualPlaces::has_shuffle(const ShuffleKey& key) {
  if (existing_directory(key)) return true;
  const std::vector<ShuffleKey> known = engine_.local_shuffles();
  return std::ranges::find(known, key) != known.end();
}

std::vector<AppId> VirtualPlaces::apps() {
  std::set<AppId> all;
  for (const ShuffleKey& key : engine_.local_shuffles()) all.insert(key.app);
  const MutexLock lock(mu_);
  for (const auto& [app, owner] : apps_) all.insert(app);
  return {all.begin(), all.end()};
}

std::vector<ShuffleId> VirtualPlaces::shuffles(const AppId& app) {
  std::vector<ShuffleId> all;
  for (const ShuffleKey& key : engine_.local_shuffles()) {  // sorted
    if (key.app == app) all.push_back(key.shuffle);
  }
  return all;
}

Status VirtualPlaces::make_app(const AppId& app, Owner creator) {
  if (has_app(app))
    return make_error(Code::kExists, fmt::format("the application {} is there already", app.str()));
  TRY(claim(engine_, app, creator));
  const MutexLock lock(mu_);
  if (apps_.size() >= kMaxApps) {
    return Error{Code::kTooLarge, ENOSPC,
                 fmt::format("there are {} empty applications: remove some", apps_.size())};
  }
  add_app_locked(app, creator);
  return ok();
}

Status VirtualPlaces::make_shuffle(const ShuffleKey& key, Owner creator) {
  if (existing_directory(key))
    return make_error(Code::kExists, fmt::format("the shuffle {} is there", to_string(key)));
  TRY(claim(engine_, key.app, creator));
  TRY_ASSIGN(const std::string path, generic_directory(key));
  const Owner owner = owner_of(key.app);
  on_disk_wait(path);
  if (::lchown(path.c_str(), owner.uid, owner.gid) != 0)
    return errno_error("cannot give away " + path);
  return ok();
}

Result<std::string> VirtualPlaces::generic_directory(const ShuffleKey& key) {
  if (auto path = existing_directory(key)) return std::move(*path);
  TRY_ASSIGN(std::string path, engine_.commits().generic_directory(key, true));
  const MutexLock lock(mu_);
  erase_app_locked(key.app);  // no longer empty; from now on it exists as long as its shuffles do
  return path;
}

void VirtualPlaces::forget_app(const AppId& app) {
  const MutexLock lock(mu_);
  erase_app_locked(app);
  std::erase_if(listings_, [&](const auto& listing) { return listing.first.app == app; });
}

void VirtualPlaces::forget_shuffle(const ShuffleKey& key, Owner app_owner) {
  const bool was_last = shuffles(key.app).empty();
  const MutexLock lock(mu_);
  if (was_last && apps_.size() < kMaxApps) add_app_locked(key.app, app_owner);
  listings_.erase(key);
}

std::optional<Owner> VirtualPlaces::owner_if_known(const AppId& app) {
  if (auto known = engine_.owners().find(app)) return known;
  {
    const MutexLock lock(mu_);
    if (const auto it = apps_.find(app); it != apps_.end()) return it->second.first;
  }
  // Made here, before a restart, and still empty.
  for (const ShuffleId shuffle : shuffles(app)) {
    struct stat attr{};
    const auto path = existing_directory({app, shuffle});
    if (path) on_disk_wait(*path);
    if (path && ::stat(path->c_str(), &attr) == 0 && attr.st_uid != 0)
      return Owner{attr.st_uid, attr.st_gid};
  }
  return std::nullopt;
}

Owner VirtualPlaces::owner_of(const AppId& app) { return owner_if_known(app).value_or(Owner{}); }

bool VirtualPlaces::knows_owner_of(const AppId& app) { return owner_if_known(app).has_value(); }

bool VirtualPlaces::shows_spark_maps(const ShuffleKey& key) {
  if (listed(key, false)->empty() && listed(key, true)->empty()) return false;
  const auto path = existing_directory(key);
  std::error_code failed;
  if (path) on_disk_wait(*path);
  return !path || std::filesystem::is_empty(*path, failed);
}

std::vector<MapId> VirtualPlaces::spark_maps(const ShuffleKey& key) {
  std::vector<MapId> maps;
  const auto outputs = listed(key, true);
  maps.reserve(outputs->size());
  for (const auto& [map, output] : *outputs) maps.push_back(map);
  return maps;
}

std::optional<merge::MapOutput> VirtualPlaces::spark_map(const ShuffleKey& key, MapId map) {
  for (const bool fresh : {false, true}) {
    const auto outputs = listed(key, fresh);
    if (const auto it = outputs->find(map); it != outputs->end()) return it->second;
  }
  return std::nullopt;
}

std::shared_ptr<const VirtualPlaces::MapOutputs> VirtualPlaces::listed(const ShuffleKey& key,
                                                                       bool fresh) {
  const auto now = std::chrono::steady_clock::now();
  if (!fresh) {
    const MutexLock lock(mu_);
    const auto it = listings_.find(key);
    if (it != listings_.end() && now - it->second.when < std::chrono::seconds(1))
      return it->second.outputs;
  }
  auto outputs = std::make_shared<MapOutputs>();
  for (const merge::MapOutputRef& output : engine_.local_maps(key)) {
    if (output->form == merge::MapOutput::Form::kFiles) outputs->emplace(output->map, *output);
  }
  const MutexLock lock(mu_);
  if (listings_.size() >= kMaxListings) listings_.clear();
  listings_.insert_or_assign(key, Listed{now, outputs});
  return outputs;
}

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
