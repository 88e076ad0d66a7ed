#include "fs/inode_table.h"

#include <fcntl.h>
#include <unistd.h>

namespace shufflefs::fs {

InodeTable::~InodeTable() {
  for (Shard& shard : shards_) {
    for (auto& [nodeid, record] : shard.by_nodeid) {
      if (record.pinned_fd >= 0) ::close(record.pinned_fd);
    }
  }
}

InodeTable::Remembered InodeTable::remember(const InodeRecord& seen, Fd path_fd) {
  const Key key{seen.device, seen.inode};
  const uint64_t number = shard_number(key);
  Shard& shard = shards_[number];
  const std::lock_guard lock(shard.mu);
  const auto known = shard.by_key.find(key);
  if (known != shard.by_key.end()) {
    InodeRecord& record = shard.by_nodeid.at(known->second);
    if (record.handle == seen.handle) {
      ++record.lookups;
      return {record.nodeid, false};
    }
  }
  // New, or the number belongs to another file by now: the old node stays reachable by its nodeid
  // until forgotten.
  InodeRecord record = seen;
  record.nodeid = (shard.next++ << kShardBits) | number;
  record.lookups = 1;
  record.pinned_fd = record.handle.length == 0 ? path_fd.release() : -1;
  shard.by_key[key] = record.nodeid;
  shard.by_nodeid.emplace(record.nodeid, record);
  return {record.nodeid, true};
}

std::optional<InodeRecord> InodeTable::find(uint64_t nodeid) const {
  const Shard& shard = shard_of(nodeid);
  const std::lock_guard lock(shard.mu);
  const auto it = shard.by_nodeid.find(nodeid);
  if (it == shard.by_nodeid.end()) return std::nullopt;
  return it->second;
}

void InodeTable::pin(uint64_t device, uint64_t inode, Fd path_fd) {
  const Key key{device, inode};
  Shard& shard = shards_[shard_number(key)];
  const std::lock_guard lock(shard.mu);
  const auto known = shard.by_key.find(key);
  if (known == shard.by_key.end()) return;
  InodeRecord& record = shard.by_nodeid.at(known->second);
  if (record.pinned_fd < 0) record.pinned_fd = path_fd.release();
}

Fd InodeTable::duplicate_pinned(uint64_t nodeid) const {
  const Shard& shard = shard_of(nodeid);
  const std::lock_guard lock(shard.mu);
  const auto it = shard.by_nodeid.find(nodeid);
  if (it == shard.by_nodeid.end() || it->second.pinned_fd < 0) return Fd();
  return Fd(::fcntl(it->second.pinned_fd, F_DUPFD_CLOEXEC, 3));
}

std::optional<InodeRecord> InodeTable::forget(uint64_t nodeid, uint64_t count) {
  Shard& shard = shard_of(nodeid);
  const std::lock_guard lock(shard.mu);
  const auto it = shard.by_nodeid.find(nodeid);
  if (it == shard.by_nodeid.end()) return std::nullopt;
  InodeRecord& record = it->second;
  if (count < record.lookups) {
    record.lookups -= count;
    return std::nullopt;
  }
  const InodeRecord gone = record;
  const auto by_key = shard.by_key.find({gone.device, gone.inode});
  if (by_key != shard.by_key.end() && by_key->second == nodeid) shard.by_key.erase(by_key);
  shard.by_nodeid.erase(it);
  if (gone.pinned_fd >= 0) ::close(gone.pinned_fd);
  return gone;
}

std::size_t InodeTable::size() const {
  std::size_t size = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mu);
    size += shard.by_nodeid.size();
  }
  return size;
}

}  // namespace shufflefs::fs
