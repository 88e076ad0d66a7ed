#include "merge/disks.h"

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kMostReserve = 10ULL << 30U;

}  // namespace

bool is_disk_failure(const Error& error) {
  switch (error.sys_errno) {
    case EIO:
    case EROFS:
    case ENXIO:
    case ENODEV:
    case EUCLEAN:  // the file system found itself damaged
    case ESHUTDOWN: return true;
    default: return false;
  }
}

Disks::Disks(FileIo& io, std::vector<std::string> data_dirs, uint64_t reserve_bytes)
    : io_(io), reserve_bytes_(reserve_bytes) {
  for (std::string& path : data_dirs) {
    disks_.push_back(std::make_unique<Disk>());
    disks_.back()->path = std::move(path);
  }
}

void Disks::refresh() {
  for (std::size_t disk = 0; disk < disks_.size(); ++disk) refresh(disk);
}

void Disks::refresh(std::size_t disk) {
  Disk& d = *disks_[disk];
  if (d.is_failed.load()) return;
  d.taken = 0;
  const auto space = io_.space(d.path);
  if (!space) return note(disk, space.error());
  d.total = space->total_bytes;
  d.free = space->free_bytes;
  d.reserve = reserve_bytes_ > 0 ? reserve_bytes_ : std::min(space->total_bytes / 20, kMostReserve);
}

bool Disks::takes_merged(std::size_t disk) const {
  const Disk& d = *disks_[disk];
  return !d.is_failed.load() && d.free.load() > d.reserve.load();
}

uint64_t Disks::to_evict(std::size_t disk) const {
  const Disk& d = *disks_[disk];
  const uint64_t free = d.free.load();
  if (d.is_failed.load() || free >= 2 * d.reserve.load()) return 0;
  return 3 * d.reserve.load() - free;
}

std::optional<std::size_t> Disks::choose(uint64_t number) const {
  std::vector<std::size_t> candidates;
  uint64_t most = 0;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (!takes_merged(i)) continue;
    candidates.push_back(i);
    most = std::max(most, disks_[i]->free.load());
  }
  std::erase_if(candidates, [&](std::size_t i) { return disks_[i]->free.load() < most / 2; });
  if (candidates.empty()) return std::nullopt;
  return candidates[number % candidates.size()];
}

void Disks::took(std::size_t disk, uint64_t bytes) {
  Disk& d = *disks_[disk];
  uint64_t before = d.free.load();
  while (!d.free.compare_exchange_weak(before, before - std::min(before, bytes))) {
  }
  // Others take room too, and files take more than their bytes.
  if ((d.taken += bytes) > d.reserve.load() / 16) refresh(disk);
}

bool Disks::is_scarce(std::size_t disk) const {
  const Disk& d = *disks_[disk];
  return !d.is_failed.load() && d.free.load() < 4 * d.reserve.load();
}

void Disks::note(std::size_t disk, const Error& error) {
  if (error.sys_errno == ENOSPC || error.sys_errno == EDQUOT)
    disks_[disk]->free = 0;
  else if (is_disk_failure(error))
    fail(disk, error.message);
}

void Disks::fail(std::size_t disk, const std::string& reason) {
  Disk& d = *disks_[disk];
  {
    const MutexLock lock(d.mu);
    if (d.is_failed.load()) return;
    d.reason = reason;
    d.is_failed = true;
  }
  log_error("disk.failed", {{"disk", d.path},
                            {"reason", reason},
                            {"effect",
                             "nothing more is merged onto it; what was is read from its "
                             "origins"}});
}

bool Disks::works_again(std::size_t disk) {
  const std::string path = disks_[disk]->path + "/probe";
  const std::string text = "is this disk well again?";
  const auto bytes = std::as_bytes(std::span(text));
  if (!replace_file(io_, path, bytes)) return false;
  const auto read = read_file(io_, path, bytes.size());
  return io_.remove_file(path) && read && std::ranges::equal(*read, bytes);
}

void Disks::recovered(std::size_t disk) {
  Disk& d = *disks_[disk];
  {
    const MutexLock lock(d.mu);
    d.reason.clear();
    d.is_failed = false;
  }
  log_info("disk.recovered", {{"disk", d.path}});
}

std::vector<DiskStatus> Disks::status() const {
  std::vector<DiskStatus> list;
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const Disk& disk = *disks_[i];
    const MutexLock lock(disk.mu);
    list.push_back({disk.path, disk.total.load(), disk.free.load(), disk.reserve.load(),
                    takes_merged(i), disk.reason});
  }
  return list;
}

}  // namespace shufflefs::merge
