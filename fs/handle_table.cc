#include "fs/handle_table.h"

#include <fcntl.h>

#include "fs/directory_cursor.h"

namespace shufflefs::fs {

OpenFile::OpenFile(uint64_t its_nodeid, int open_flags, std::shared_ptr<const Tree> its_tree,
                   Fd descriptor)
    : nodeid(its_nodeid), flags(open_flags), tree(std::move(its_tree)), fd(std::move(descriptor)) {}

OpenFile::~OpenFile() = default;

bool OpenFile::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }

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

HandleTable::Removed HandleTable::remove(uint64_t key) {
  const MutexLock lock(mu_);
  auto file = opens_.remove(key);
  if (!file) return {};
  Removed removed{std::move(*file), false};
  const auto opens = by_node_.find(removed.file->nodeid);
  if (removed.file->writable()) removed.was_last_writer = --opens->second.writers == 0;
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
