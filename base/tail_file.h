// A file that grows at its end, whose last, partly filled page stays in memory until the page is
// full. What reaches the kernel are whole pages then. Otherwise the page at which a file grows is
// written to the disk again and again, each time the kernel writes what is dirty: for an index that
// grows by 40 bytes, and for blocks that end anywhere, more than half of a disk's seeks
// (docs/evaluation.md, "Why the map stage had been slower").
//
// Reads see what is held. flush() writes it; so does the end of the object, which can tell nobody
// of an error but the log. What is held when the process is killed is lost: callers cope with files
// that end early.
//
// Threads: any, concurrent writers of different ranges too: a write that does not continue what is
// held just goes through. Memory: less than a page, and a page for each write under way.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/file_io.h"

namespace shufflefs {

class TailFile : public File {
 public:
  static constexpr uint64_t kPage = 4096;

  explicit TailFile(std::unique_ptr<File> below) : below_(std::move(below)) {}
  ~TailFile() override;
  TailFile(const TailFile&) = delete;
  TailFile& operator=(const TailFile&) = delete;

  Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) override;
  Status write_at(uint64_t offset, std::span<const std::byte> bytes) override;
  Status write_pieces_at(uint64_t offset,
                         std::span<const std::span<const std::byte>> pieces) override;
  bool preallocate(uint64_t offset, uint64_t bytes) override {
    return below_->preallocate(offset, bytes);
  }
  Result<uint64_t> size() override;
  Status truncate(uint64_t size) override;
  [[nodiscard]] int native_fd() const override { return below_->native_fd(); }

  // Writes what is held, and waits for those who are writing what was. What could not be written
  // stays in memory, and the next flush() tries again.
  [[nodiscard]] Status flush();
  // From now on `first` is flushed before anything of this file is written: an index never names
  // bytes that a killed process has taken with it. Until the next flush of this file.
  void flush_after(std::shared_ptr<TailFile> first);
  // flush(), and nothing is held any more: somebody else may open the file.
  void stop_holding();
  // Forgets what is held: the file has been removed, or is about to be.
  void discard();
  // Flushes if nothing was written since the last call.
  [[nodiscard]] Status flush_if_idle();

 private:
  using Bytes = std::vector<std::byte>;
  struct Range {
    uint64_t begin = 0;
    Bytes bytes;
    bool being_written = false;
    [[nodiscard]] uint64_t end() const { return begin + bytes.size(); }
  };
  using Ranges = std::list<Range>;
  using Pieces = std::span<const std::span<const std::byte>>;
  // All REQUIRE mu_ held:
  [[nodiscard]] Status find_end();
  // Moves what is held to ranges_, if the write continues it.
  std::optional<Ranges::iterator> take_held(uint64_t offset);
  void hold_end_of(Pieces pieces, uint64_t end, uint64_t bytes);
  [[nodiscard]] Status write_held(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] Status flush_first(std::unique_lock<std::mutex>& lock);

  const std::unique_ptr<File> below_;
  std::mutex mu_;
  std::condition_variable written_;
  // All GUARDED_BY(mu_):
  bool holds_ = true;
  bool touched_ = false;         // since flush_if_idle()
  std::optional<uint64_t> end_;  // the highest one that was ever written
  Range held_;                   // ends at end_, or is empty
  Ranges ranges_;  // were held: being written with what continues them, or could not be
  std::vector<std::shared_ptr<TailFile>> first_;
};

}  // namespace shufflefs
