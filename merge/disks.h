// The data disks: how much room each has, and whether it is well. Merged data is a copy and gives
// way: below the reserve a disk takes no more of it, and what is there is evicted, so that Spark's
// own writes are the last to see a full disk.
//
//   free < reserve          nothing more is merged onto the disk
//   free < 2 x reserve      merged data of it is evicted, the oldest complete shuffle first, ...
//   free >= 3 x reserve     ... until so much is free
//
// A disk with an I/O error is left out at once: nothing is placed on it or read from it. It comes
// back when a file can be written to it and read again, after half a minute at the earliest.
//
// Threads: any. Room is that of the last refresh() less what was taken since: an estimate.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "merge/engine_options.h"

namespace shufflefs::merge {

class Disks {
 public:
  // `reserve_bytes` 0: five hundredths of each disk, at most 10 GiB.
  Disks(FileIo& io, std::vector<std::string> data_dirs, uint64_t reserve_bytes);

  [[nodiscard]] std::size_t size() const { return disks_.size(); }
  [[nodiscard]] const std::string& path(std::size_t disk) const { return disks_[disk]->path; }

  // Asks the file systems, all or one. Blocks.
  void refresh();
  void refresh(std::size_t disk);
  [[nodiscard]] bool is_well(std::size_t disk) const { return !disks_[disk]->is_failed.load(); }
  [[nodiscard]] bool takes_merged(std::size_t disk) const;
  // How much merged data has to go from the disk.
  [[nodiscard]] uint64_t to_evict(std::size_t disk) const;
  // Where a new partition goes: among the disks that have at least half the room of the emptiest
  // one, by its number. Nothing if no disk takes any.
  [[nodiscard]] std::optional<std::size_t> choose(uint64_t number) const;

  // So much was merged onto it. Looks again itself after a sixteenth of the reserve.
  void took(std::size_t disk, uint64_t bytes);
  // Close to where merged data has to go: to be looked at often, and to be used sparingly.
  [[nodiscard]] bool is_scarce(std::size_t disk) const;
  // What an operation on the disk said: an I/O error takes the disk out, a lack of space is
  // remembered until the next refresh.
  void note(std::size_t disk, const Error& error);
  void fail(std::size_t disk, const std::string& reason);
  // Tries a disk that has failed; true if it works. It is used again after recovered(). Blocks.
  [[nodiscard]] bool works_again(std::size_t disk);
  void recovered(std::size_t disk);
  [[nodiscard]] std::vector<DiskStatus> status() const;

 private:
  struct Disk {
    std::string path;
    std::atomic<bool> is_failed{false};
    std::atomic<uint64_t> total{0};
    std::atomic<uint64_t> free{0};
    std::atomic<uint64_t> reserve{0};
    std::atomic<uint64_t> taken{0};  // since the last look
    mutable Mutex mu;
    std::string reason GUARDED_BY(mu);
  };

  FileIo& io_;
  const uint64_t reserve_bytes_;
  std::vector<std::unique_ptr<Disk>> disks_;
};

// Errors that mean that the disk itself is sick, or gone.
[[nodiscard]] bool is_disk_failure(const Error& error);

}  // namespace shufflefs::merge
