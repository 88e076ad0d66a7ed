#include "fs/handle_table.h"

#include <fcntl.h>

#include "fs/directory_cursor.h"

namespace shufflefs::fs {

OpenFile::OpenFile(uint64_t its_nodeid, int open_flags, std::shared_ptr<const Tree> its_tree,
                   Fd descriptor)
    : nodeid(its_nodeid), flags(open_flags), tree(std::move(its_tree)), fd(std::move(descriptor)) {}

OpenFile::~OpenFile() = default;

bool OpenFile::writable() const { return (flags & O_ACCMODE) != O_RDONLY; }

uint64_t HandleTable::add(const std::shared_ptr<OpenFile>& file) {
  const std::lock_guard lock(mu_);
  file->key = next_key_++;
  files_.emplace(file->key, file);
  Opens& opens = by_node_[file->nodeid];
  opens.keys.push_back(file->key);
  if (file->writable()) ++opens.writers;
  return file->key;
}

std::shared_ptr<OpenFile> HandleTable::find(uint64_t key) const {
  const std::lock_guard lock(mu_);
  const auto it = files_.find(key);
  return it == files_.end() ? nullptr : it->second;
}

std::shared_ptr<OpenFile> HandleTable::any_of(uint64_t nodeid) const {
  const std::lock_guard lock(mu_);
  const auto it = by_node_.find(nodeid);
  return it == by_node_.end() ? nullptr : files_.at(it->second.keys.front());
}

HandleTable::Removed HandleTable::remove(uint64_t key) {
  const std::lock_guard lock(mu_);
  const auto it = files_.find(key);
  if (it == files_.end()) return {};
  Removed removed{std::move(it->second), false};
  files_.erase(it);
  const auto opens = by_node_.find(removed.file->nodeid);
  if (removed.file->writable()) removed.was_last_writer = --opens->second.writers == 0;
  std::erase(opens->second.keys, key);
  if (opens->second.keys.empty()) by_node_.erase(opens);
  return removed;
}

std::size_t HandleTable::size() const {
  const std::lock_guard lock(mu_);
  return files_.size();
}

}  // namespace shufflefs::fs
