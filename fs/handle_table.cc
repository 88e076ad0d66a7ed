#include "fs/handle_table.h"

#include <fcntl.h>

#include <algorithm>

#include "fs/directory_cursor.h"

namespace shufflefs::fs {

OpenFile::OpenFile(uint64_t its_nodeid, int open_flags, std::shared_ptr<const Tree> its_tree,
                   Fd descriptor)
    : nodeid(its_nodeid), flags(open_flags), tree(std::move(its_tree)), fd(std::move(descriptor)) {}

OpenFile::~OpenFile() = default;

bool OpenFile::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }

HandleTable::HandleTable(Fd saved) : saved_(std::move(saved), "open-files") {
  uint64_t& next = saved_.counter(kNextKey);
  next = std::max<uint64_t>(next, 1);
  for (const uint32_t at : saved_.all()) {
    by_request_.emplace(saved_[at].request, saved_[at].key);
    to_restore_.emplace(saved_[at].key, at);
  }
}

std::vector<OpenRecord> HandleTable::saved() const {
  const std::lock_guard lock(mu_);
  std::vector<OpenRecord> records;
  records.reserve(to_restore_.size());
  for (const auto& [key, at] : to_restore_) records.push_back(saved_[at]);
  return records;
}

void HandleTable::restore(const OpenRecord& record, const std::shared_ptr<OpenFile>& file) {
  const std::lock_guard lock(mu_);
  const auto at = to_restore_.find(record.key);
  file->key = record.key;
  insert_locked(file, at->second);
  to_restore_.erase(at);
}

uint64_t HandleTable::add(const std::shared_ptr<OpenFile>& file, uint64_t request) {
  const std::lock_guard lock(mu_);
  file->key = saved_.counter(kNextKey)++;
  insert_locked(file, saved_.add({.key = file->key,
                                  .nodeid = file->nodeid,
                                  .request = request,
                                  .flags = file->flags,
                                  .backing_id = file->backing_id,
                                  .is_directory = file->cursor != nullptr}));
  return file->key;
}

void HandleTable::insert_locked(const std::shared_ptr<OpenFile>& file, uint32_t record) {
  files_.emplace(file->key, Held{file, record});
  Opens& opens = by_node_[file->nodeid];
  opens.keys.push_back(file->key);
  if (file->writable()) ++opens.writers;
  if (is_ordinary(*file)) ++ordinary_;
}

bool HandleTable::is_ordinary(const OpenFile& file) {
  return file.backing_id == 0 && file.cursor == nullptr;
}

std::shared_ptr<OpenFile> HandleTable::find(uint64_t key) const {
  const std::lock_guard lock(mu_);
  const auto it = files_.find(key);
  return it == files_.end() ? nullptr : it->second.file;
}

uint64_t HandleTable::key_of_request(uint64_t request) const {
  const std::lock_guard lock(mu_);
  const auto it = by_request_.find(request);
  return it == by_request_.end() ? 0 : it->second;
}

std::shared_ptr<OpenFile> HandleTable::any_of(uint64_t nodeid) const {
  const std::lock_guard lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it == by_node_.end() ? nullptr : files_.at(it->second.keys.front()).file;
}

bool HandleTable::has_writer(uint64_t nodeid) const {
  const std::lock_guard lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it != by_node_.end() && it->second.writers != 0;
}

HandleTable::Removed HandleTable::remove(uint64_t key) {
  const std::lock_guard lock(mu_);
  const auto it = files_.find(key);
  if (it == files_.end()) return {};
  Removed removed{std::move(it->second.file), false};
  saved_.remove(it->second.record);
  files_.erase(it);
  const auto opens = by_node_.find(removed.file->nodeid);
  if (removed.file->writable()) removed.was_last_writer = --opens->second.writers == 0;
  if (is_ordinary(*removed.file)) --ordinary_;
  std::erase(opens->second.keys, key);
  if (opens->second.keys.empty()) by_node_.erase(opens);
  return removed;
}

std::size_t HandleTable::size() const {
  const std::lock_guard lock(mu_);
  return files_.size();
}

}  // namespace shufflefs::fs
