#include "fs/native_tables.h"

#include <fcntl.h>

#include <algorithm>

#include "fs/directory.h"

namespace shufflefs::fs {

bool InodeRecord::is_sound() const {
  // The numbers of virtual nodes begin above (kVirtualInodeBit).
  return nodeid >> InodeTable::kShardBits > 0 && nodeid >> 62U == 0 && handle.is_sound() &&
         (nodeid & (InodeTable::kShards - 1)) == InodeTable::shard_number({device, inode});
}

InodeTable::InodeTable(Fd saved, KeptFiles* kept)
    : kept_(kept), saved_(std::move(saved), "inodes", kMaxBytes) {
  for (uint64_t number = 0; number < kShards; ++number) {
    uint64_t& next = saved_.counter(static_cast<unsigned>(number));
    if (next == 0 || next >> (62U - kShardBits) != 0) next = 1;
  }
  for (const uint32_t at : saved_.all()) {
    const InodeRecord& record = saved_[at];
    Shard& shard = shard_of(record.nodeid);
    if (!shard.by_nodeid.emplace(record.nodeid, at).second) continue;
    uint64_t& next = saved_.counter(static_cast<unsigned>(record.nodeid & (kShards - 1)));
    next = std::max(next, (record.nodeid >> kShardBits) + 1);
    uint64_t& latest = shard.by_key[{record.device, record.inode}];
    latest = std::max(latest, record.nodeid);
  }
}

InodeTable::Remembered InodeTable::remember_with(const InodeRecord& seen, Fd& path_fd) {
  const Key key{seen.device, seen.inode};
  const uint64_t number = shard_number(key);
  Shard& shard = shards_[number];
  const MutexLock lock(shard.mu);
  const auto known = shard.by_key.find(key);
  if (known != shard.by_key.end()) {
    InodeRecord& record = saved_[shard.by_nodeid.at(known->second)];
    if (record.handle == seen.handle) {
      ++record.lookups;
      return {record.nodeid, false};
    }
  }
  // New, or the number belongs to another file by now: the old node stays reachable by its nodeid
  // until forgotten.
  InodeRecord record = seen;
  record.nodeid = (saved_.counter(static_cast<unsigned>(number))++ << kShardBits) | number;
  record.lookups = 1;
  if (record.handle.length == 0) keep_pinned_locked(shard, record.nodeid, std::move(path_fd));
  shard.by_key[key] = record.nodeid;
  shard.by_nodeid.emplace(record.nodeid, saved_.add(record));
  return {record.nodeid, true};
}

std::optional<InodeRecord> InodeTable::find(uint64_t nodeid) const {
  const Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  const auto it = shard.by_nodeid.find(nodeid);
  if (it == shard.by_nodeid.end()) return std::nullopt;
  return saved_[it->second];
}

void InodeTable::keep_pinned_locked(Shard& shard, uint64_t nodeid, Fd path_fd) {
  Pin& pin = shard.pinned[nodeid];
  if (!pin.fd) pin.fd = std::move(path_fd);
  keep_locked(nodeid, pin);
}

void InodeTable::keep_locked(uint64_t nodeid, Pin& pin) {
  pin.stays = true;
  if (kept_ == nullptr || pin.kept) return;
  kept_->keep(KeptKind::kInode, nodeid, pin.fd.get());
  pin.kept = true;
}

void InodeTable::pin(uint64_t device, uint64_t inode, Fd path_fd) {
  const Key key{device, inode};
  Shard& shard = shards_[shard_number(key)];
  const MutexLock lock(shard.mu);
  const auto known = shard.by_key.find(key);
  if (known == shard.by_key.end()) return;
  keep_pinned_locked(shard, known->second, std::move(path_fd));
}

uint64_t InodeTable::begin_removal(uint64_t device, uint64_t inode, Fd path_fd) {
  const Key key{device, inode};
  Shard& shard = shards_[shard_number(key)];
  const MutexLock lock(shard.mu);
  const auto known = shard.by_key.find(key);
  if (known == shard.by_key.end()) return 0;
  Pin& pin = shard.pinned[known->second];
  if (!pin.fd) pin.fd = std::move(path_fd);
  ++pin.removals;
  return known->second;
}

void InodeTable::end_removal(uint64_t nodeid, Removal how) {
  Fd unneeded;  // closed without the lock: that may free the file's space
  Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  const auto it = shard.pinned.find(nodeid);
  if (it == shard.pinned.end()) return;
  Pin& pin = it->second;
  if (pin.removals > 0) --pin.removals;
  const bool found_again = saved_[shard.by_nodeid.at(nodeid)].lookups > 1;
  struct stat attr{};
  if (how == Removal::kKept)
    keep_locked(nodeid, pin);
  else if (how == Removal::kUntilForgotten || (how == Removal::kIfFoundAgain && found_again))
    pin.stays = pin.stays || (::fstat(pin.fd.get(), &attr) == 0 && attr.st_nlink == 0);
  if (pin.stays || pin.removals > 0) return;
  unneeded = std::move(pin.fd);
  shard.pinned.erase(it);
}

void InodeTable::hold_removed(uint64_t nodeid, Fd path_fd) {
  Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  if (!shard.by_nodeid.contains(nodeid)) return;
  Pin& pin = shard.pinned[nodeid];
  if (!pin.fd) pin.fd = std::move(path_fd);
  pin.stays = true;
}

void InodeTable::restore_pinned(uint64_t nodeid, Fd path_fd) {
  Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  if (shard.by_nodeid.contains(nodeid)) {
    shard.pinned.insert_or_assign(
        nodeid, Pin{.fd = std::move(path_fd), .removals = 0, .stays = true, .kept = true});
  } else if (kept_ != nullptr) {
    kept_->drop(KeptKind::kInode, nodeid);  // killed between the two
  }
}

uint64_t InodeTable::nodeid_of(uint64_t device, uint64_t inode) const {
  const Key key{device, inode};
  const Shard& shard = shards_[shard_number(key)];
  const MutexLock lock(shard.mu);
  const auto known = shard.by_key.find(key);
  return known == shard.by_key.end() ? 0 : known->second;
}

Fd InodeTable::duplicate_pinned(uint64_t nodeid) const {
  const Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  const auto it = shard.pinned.find(nodeid);
  if (it == shard.pinned.end()) return Fd();
  return Fd(::fcntl(it->second.fd.get(), F_DUPFD_CLOEXEC, 3));
}

std::optional<InodeRecord> InodeTable::forget(uint64_t nodeid, uint64_t count) {
  Pin unneeded;  // closed without the lock: that may free the file's space
  Shard& shard = shard_of(nodeid);
  const MutexLock lock(shard.mu);
  const auto it = shard.by_nodeid.find(nodeid);
  if (it == shard.by_nodeid.end()) return std::nullopt;
  InodeRecord& record = saved_[it->second];
  if (count < record.lookups) {
    record.lookups -= count;
    return std::nullopt;
  }
  const InodeRecord gone = record;
  const auto by_key = shard.by_key.find({gone.device, gone.inode});
  if (by_key != shard.by_key.end() && by_key->second == nodeid) shard.by_key.erase(by_key);
  saved_.remove(it->second);
  shard.by_nodeid.erase(it);
  const auto pin = shard.pinned.find(nodeid);
  if (pin != shard.pinned.end()) {
    if (pin->second.kept) kept_->drop(KeptKind::kInode, nodeid);
    unneeded = std::move(pin->second);
    shard.pinned.erase(pin);
  }
  return gone;
}

std::map<TreeId, uint64_t> InodeTable::count_by_tree() const {
  std::map<TreeId, uint64_t> counts;
  for (const uint32_t at : saved_.all()) ++counts[saved_[at].tree];
  return counts;
}

std::size_t InodeTable::size() const {
  std::size_t size = 0;
  for (const Shard& shard : shards_) {
    const MutexLock lock(shard.mu);
    size += shard.by_nodeid.size();
  }
  return size;
}

OpenFile::OpenFile(uint64_t its_nodeid, int open_flags, std::shared_ptr<const Tree> its_tree,
                   Fd descriptor)
    : nodeid(its_nodeid), flags(open_flags), tree(std::move(its_tree)), fd(std::move(descriptor)) {}

OpenFile::~OpenFile() = default;

bool OpenFile::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }

bool OpenFile::mappable() const { return (flags & O_ACCMODE) == O_RDWR; }

HandleTable::HandleTable(Fd saved) : opens_(std::move(saved), "open-files") {}

std::vector<OpenRecord> HandleTable::saved() const {
  const MutexLock lock(mu_);
  return opens_.saved();
}

void HandleTable::restore(const OpenRecord& record, const std::shared_ptr<OpenFile>& file) {
  const MutexLock lock(mu_);
  file->key = record.key;
  opens_.restore(record, file);
  count_locked(*file);
}

uint64_t HandleTable::add(const std::shared_ptr<OpenFile>& file, uint64_t request) {
  const MutexLock lock(mu_);
  file->key = opens_.next_key();
  opens_.add({.key = file->key,
              .nodeid = file->nodeid,
              .request = request,
              .flags = file->flags,
              .backing_id = file->backing_id,
              .is_directory = static_cast<uint8_t>(file->cursor != nullptr)},
             file);
  count_locked(*file);
  return file->key;
}

void HandleTable::count_locked(const OpenFile& file) {
  Opens& opens = by_node_[file.nodeid];
  opens.keys.push_back(file.key);
  if (file.writable()) ++opens.writers;
  if (file.mappable()) ++opens.mappers;
  if (is_ordinary(file)) ++ordinary_;
}

bool HandleTable::is_ordinary(const OpenFile& file) {
  return file.backing_id == 0 && file.cursor == nullptr;
}

std::shared_ptr<OpenFile> HandleTable::find(uint64_t key) const {
  const MutexLock lock(mu_);
  const auto* const file = opens_.find(key);
  return file == nullptr ? nullptr : *file;
}

uint64_t HandleTable::key_of_request(uint64_t request) const {
  const MutexLock lock(mu_);
  return opens_.key_of_request(request);
}

std::shared_ptr<OpenFile> HandleTable::any_of(uint64_t nodeid) const {
  const MutexLock lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it == by_node_.end() ? nullptr : *opens_.find(it->second.keys.front());
}

bool HandleTable::has_writer(uint64_t nodeid) const {
  const MutexLock lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it != by_node_.end() && it->second.writers != 0;
}

bool HandleTable::may_be_mapped(uint64_t nodeid) const {
  const MutexLock lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it != by_node_.end() && it->second.mappers != 0;
}

HandleTable::Removed HandleTable::remove(uint64_t key) {
  const MutexLock lock(mu_);
  auto file = opens_.remove(key);
  if (!file) return {};
  Removed removed{std::move(*file), false};
  const auto opens = by_node_.find(removed.file->nodeid);
  if (removed.file->writable()) removed.was_last_writer = --opens->second.writers == 0;
  if (removed.file->mappable()) --opens->second.mappers;
  if (is_ordinary(*removed.file)) --ordinary_;
  std::erase(opens->second.keys, key);
  if (opens->second.keys.empty()) by_node_.erase(opens);
  return removed;
}

std::size_t HandleTable::size() const {
  const MutexLock lock(mu_);
  return opens_.size();
}

}  // namespace shufflefs::fs
