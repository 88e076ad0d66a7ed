#include "merge/trash.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"

namespace shufflefs::merge {

Status Trash::add_disk(const std::string& data_dir) {
  const std::string trash = data_dir + "/trash";
  TRY(io_.make_directories(trash));
  TRY_ASSIGN(const std::vector<DirectoryEntry> left, io_.list(trash));
  const MutexLock lock(mu_);
  if (std::ranges::find(data_dirs_, data_dir) != data_dirs_.end()) return ok();
  data_dirs_.push_back(data_dir);
  for (const DirectoryEntry& entry : left)
    items_.push_back({trash + "/" + entry.name, runtime_.now() + grace_});
  return ok();
}

Result<std::optional<std::string>> Trash::move_in(const std::string& path) {
  std::string data_dir;
  {
    const MutexLock lock(mu_);
    const auto disk = std::ranges::find_if(
        data_dirs_, [&](const std::string& dir) { return path.starts_with(dir + "/"); });
    if (disk == data_dirs_.end())
      return make_error(Code::kInternal, fmt::format("{} is not below a data directory", path));
    data_dir = *disk;
  }
  // Unique over restarts: the wall clock in front of a counter.
  const auto stamp = runtime_.wall_clock().time_since_epoch() / std::chrono::microseconds(1);
  std::string place = fmt::format("{}/trash/{}-{}", data_dir, stamp, next_.fetch_add(1));
  const Status moved = io_.rename(path, place);
  if (moved) return std::optional(std::move(place));
  if (moved.error().code == Code::kNotFound) return std::optional<std::string>();
  return moved.error();
}

Status Trash::discard(const std::string& path) {
  TRY_ASSIGN(auto place, move_in(path));
  if (!place) return ok();
  const MutexLock lock(mu_);
  items_.push_back({*std::move(place), runtime_.now() + grace_});
  return ok();
}

Status Trash::discard_now(const std::string& path) {
  TRY_ASSIGN(const auto place, move_in(path));
  return place ? io_.remove_tree(*place) : ok();
}

std::vector<std::string> Trash::take_due() {
  const MutexLock lock(mu_);
  std::vector<std::string> due;
  const TimePoint now = runtime_.now();
  std::erase_if(items_, [&](const Item& item) {
    if (item.due > now) return false;
    due.push_back(item.path);
    return true;
  });
  return due;
}

Task<void> Trash::run() {
  while (true) {
    for (const std::string& path : take_due()) {
      const Status removed =
          co_await offload(runtime_, [this, path] { return io_.remove_tree(path); });
      if (!removed)
        log_warning("trash.not_removed", {{"path", path}, {"reason", removed.error().message}});
    }
    co_await sleep_for(runtime_,
                       std::max<Duration>(std::chrono::milliseconds(100),
                                          std::min<Duration>(grace_ / 4, std::chrono::seconds(5))));
  }
}

}  // namespace shufflefs::merge
