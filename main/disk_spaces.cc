#include "main/disk_spaces.h"

#include <fmt/format.h>

#include <algorithm>

namespace shufflefs {

DiskSpaces::DiskSpaces(Runtime& runtime, FileIo& io, const std::vector<std::string>& paths)
    : runtime_(runtime), io_(io) {
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto disk = std::make_shared<Disk>();
    disk->space.name = fmt::format("disk{}", i);
    disk->space.path = paths[i];
    disk->space.reason = "it has not been asked yet";
    disks_.push_back(std::move(disk));
  }
}

void DiskSpaces::ask(const std::shared_ptr<Disk>& disk) {
  std::string path;
  {
    const MutexLock lock(disk->mu);
    if (disk->asking) return;
    path = disk->space.path;
    disk->asking = true;
    disk->asked_at = runtime_.now();
  }
  runtime_.post_blocking([disk, path = std::move(path), &io = io_] {
    const auto space = io.space(path);
    const MutexLock lock(disk->mu);
    disk->asking = false;
    disk->space.reason = space ? std::string() : space.error().message;
    if (!space) return;
    disk->space.total_bytes = space->total_bytes;
    disk->space.free_bytes = space->free_bytes;
  });
}

bool DiskSpaces::is_asking() const {
  return std::ranges::any_of(disks_, [](const std::shared_ptr<Disk>& disk) {
    const MutexLock lock(disk->mu);
    return disk->asking;
  });
}

Task<void> DiskSpaces::refresh() {
  constexpr auto kPatience = std::chrono::seconds(1);
  constexpr auto kLook = std::chrono::milliseconds(2);
  for (const auto& disk : disks_) ask(disk);
  const TimePoint deadline = runtime_.now() + kPatience;
  while (is_asking() && runtime_.now() < deadline) co_await sleep_for(runtime_, kLook);
}

std::vector<DataDisk> DiskSpaces::last() const {
  constexpr auto kLate = std::chrono::seconds(1);
  std::vector<DataDisk> spaces;
  for (const auto& disk : disks_) {
    const MutexLock lock(disk->mu);
    DataDisk space = disk->space;
    const auto waited = runtime_.now() - disk->asked_at;
    if (disk->asking && waited >= kLate) {
      space.reason = fmt::format("it has not answered for {} s",
                                 std::chrono::duration_cast<std::chrono::seconds>(waited).count());
    }
    spaces.push_back(std::move(space));
  }
  return spaces;
}

}  // namespace shufflefs
