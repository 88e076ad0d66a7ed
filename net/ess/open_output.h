// A map output (data and index) or another block file, open for sending. Opened below the root that
// its executor's directory lies in, with no symbolic link on the way, so that no name leads out.
//
// Threads: any, concurrently. Ownership: shared; the descriptors are closed with the last holder.
// Failure: errors name the file and carry the errno; kWouldBlock-like answers are std::nullopt,
// never an error. Cost: two descriptors and at most kWindow offsets of the index.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"

namespace shufflefs::net::ess {

// Whether a call may wait for a disk. If not, it says so by returning nothing.
enum class Wait { kNo, kYes };

struct FilePlace {
  int root_fd = -1;
  std::string below;  // the path below the root
  std::string shown;  // the absolute path, for messages
};

// Opens a regular file for reading, staying below the root. Blocks on the disk.
[[nodiscard]] Result<Fd> open_beneath(const FilePlace& place);

class OpenOutput {
 public:
  // `index` is absent for a block that is a file of its own. Blocks on the disk.
  [[nodiscard]] static Result<std::shared_ptr<OpenOutput>> open(FilePlace data,
                                                                std::optional<FilePlace> index,
                                                                std::size_t lane);

  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  // Where the partitions [begin, end) are in the data file, checked against its size. Without an
  // index, the whole file.
  [[nodiscard]] std::optional<Result<Range>> range(uint32_t begin, uint32_t end, Wait wait);

  // Whether the names still lead to the same files, unchanged. Blocks on the disk.
  [[nodiscard]] bool is_current() const;

  [[nodiscard]] int data_fd() const { return data_.fd.get(); }
  [[nodiscard]] uint64_t size() const { return data_.size; }
  [[nodiscard]] std::size_t lane() const { return lane_; }
  [[nodiscard]] const std::string& data_path() const { return data_.place.shown; }

 private:
  struct Part {
    FilePlace place;
    Fd fd;
    uint64_t device = 0;
    uint64_t inode = 0;
    uint64_t size = 0;
    timespec modified{};
  };
  OpenOutput(Part data, std::optional<Part> index, std::size_t lane)
      : data_(std::move(data)), index_(std::move(index)), lane_(lane) {}

  [[nodiscard]] static Result<Part> open_part(FilePlace place);
  [[nodiscard]] static bool same(const Part& part);
  // Offsets [begin, end] into `offsets`.
  [[nodiscard]] std::optional<Status> read_offsets(uint32_t begin, uint32_t end, Wait wait,
                                                   uint64_t& first, uint64_t& last) REQUIRES(mu_);
  [[nodiscard]] std::optional<Status> load_window(uint32_t begin, Wait wait) REQUIRES(mu_);

  const Part data_;
  const std::optional<Part> index_;
  const std::size_t lane_;
  Mutex mu_;
  std::vector<uint64_t> window_ GUARDED_BY(mu_);
  uint32_t window_begin_ GUARDED_BY(mu_) = 0;
};

}  // namespace shufflefs::net::ess
