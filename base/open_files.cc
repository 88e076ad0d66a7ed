#include "base/open_files.h"

namespace shufflefs {

std::shared_ptr<File> OpenFiles::find(const std::string& path) {
  const auto it = by_path_.find(path);
  if (it == by_path_.end()) return nullptr;
  files_.splice(files_.begin(), files_, it->second);
  return it->second->file;
}

Result<std::shared_ptr<File>> OpenFiles::open(const std::string& path) {
  {
    const std::lock_guard lock(mu_);
    if (auto file = find(path)) return file;
  }
  TRY_ASSIGN(std::unique_ptr<File> opened, io_.open(path, OpenMode::kWriteCreate));
  std::shared_ptr<File> file = std::move(opened);
  std::shared_ptr<File> closing;  // outside of the lock
  const std::lock_guard lock(mu_);
  if (auto other = find(path)) return other;  // somebody was faster
  files_.push_front({path, file});
  by_path_[path] = files_.begin();
  if (files_.size() > most_) {
    closing = std::move(files_.back().file);
    by_path_.erase(files_.back().path);
    files_.pop_back();
  }
  return file;
}

Result<std::shared_ptr<File>> OpenFiles::open_to_read(const std::string& path) {
  {
    const std::lock_guard lock(mu_);
    if (auto file = find(path)) return file;
  }
  TRY_ASSIGN(std::unique_ptr<File> opened, io_.open(path, OpenMode::kRead));
  return std::shared_ptr<File>(std::move(opened));
}

void OpenFiles::forget(const std::string& path) {
  const std::lock_guard lock(mu_);
  const auto it = by_path_.find(path);
  if (it == by_path_.end()) return;
  files_.erase(it->second);
  by_path_.erase(it);
}

void OpenFiles::forget_below(const std::string& directory) {
  const std::string prefix = directory + "/";
  const std::lock_guard lock(mu_);
  for (auto it = files_.begin(); it != files_.end();) {
    if (!it->path.starts_with(prefix)) {
      ++it;
      continue;
    }
    by_path_.erase(it->path);
    it = files_.erase(it);
  }
}

std::size_t OpenFiles::count() const {
  const std::lock_guard lock(mu_);
  return files_.size();
}

}  // namespace shufflefs
