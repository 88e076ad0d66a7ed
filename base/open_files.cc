#include "base/open_files.h"

#include <algorithm>
#include <iterator>

namespace shufflefs {

std::shared_ptr<TailFile> OpenFiles::find(const std::string& path) {
  const auto it = by_path_.find(path);
  if (it == by_path_.end()) return nullptr;
  files_.splice(files_.begin(), files_, it->second);
  return it->second->file;
}

Result<std::shared_ptr<TailFile>> OpenFiles::open(const std::string& path) {
  {
    const MutexLock lock(mu_);
    if (auto file = find(path)) return file;
  }
  TRY_ASSIGN(std::unique_ptr<File> opened, io_.open(path, OpenMode::kWriteCreate));
  auto file = std::make_shared<TailFile>(std::move(opened), held_);
  {
    const MutexLock lock(mu_);
    if (auto other = find(path)) return other;  // somebody was faster
    if (!holds_) file->stop_holding();          // it is empty-handed: nothing is written
    files_.push_front({path, file});
    by_path_[path] = files_.begin();
  }
  close_some();
  return file;
}

void OpenFiles::close_some() {
  while (true) {
    std::shared_ptr<TailFile> leaving;
    {
      const MutexLock lock(mu_);
      if (files_.size() <= most_) return;
      leaving = files_.back().file;
    }
    // While it can still be found here: whoever opens it anew must see all of it.
    leaving->stop_holding();
    const MutexLock lock(mu_);
    const auto it = std::find_if(files_.rbegin(), files_.rend(),
                                 [&](const Kept& kept) { return kept.file == leaving; });
    if (it == files_.rend()) continue;
    by_path_.erase(it->path);
    files_.erase(std::next(it).base());
  }
}

std::vector<std::shared_ptr<TailFile>> OpenFiles::all() const {
  const MutexLock lock(mu_);
  std::vector<std::shared_ptr<TailFile>> files;
  files.reserve(files_.size());
  for (const Kept& kept : files_) files.push_back(kept.file);
  return files;
}

std::vector<Error> OpenFiles::flush_idle() {
  std::vector<Error> errors;
  for (const auto& file : all()) {
    const Status flushed = file->flush_if_idle();
    if (!flushed) errors.push_back(flushed.error());
  }
  return errors;
}

void OpenFiles::stop_holding() {
  {
    const MutexLock lock(mu_);
    holds_ = false;
  }
  for (const auto& file : all()) file->stop_holding();
}

Result<std::shared_ptr<File>> OpenFiles::open_to_read(const std::string& path) {
  {
    const MutexLock lock(mu_);
    if (auto file = find(path)) return file;
  }
  TRY_ASSIGN(std::unique_ptr<File> opened, io_.open(path, OpenMode::kRead));
  return std::shared_ptr<File>(std::move(opened));
}

void OpenFiles::forget(const std::string& path) {
  const MutexLock lock(mu_);
  const auto it = by_path_.find(path);
  if (it == by_path_.end()) return;
  it->second->file->discard();
  files_.erase(it->second);
  by_path_.erase(it);
}

void OpenFiles::forget_below(const std::string& directory) {
  const std::string prefix = directory + "/";
  const MutexLock lock(mu_);
  for (auto it = files_.begin(); it != files_.end();) {
    if (!it->path.starts_with(prefix)) {
      ++it;
      continue;
    }
    it->file->discard();
    by_path_.erase(it->path);
    it = files_.erase(it);
  }
}

std::size_t OpenFiles::count() const {
  const MutexLock lock(mu_);
  return files_.size();
}

}  // namespace shufflefs
