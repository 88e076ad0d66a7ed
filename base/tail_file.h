// A growing file that gathers small appends in memory. The kernel gets whole pages, and large
// pieces as long as there is memory for them (HeldBytes). Otherwise it rewrites a file's last page
// at every writeback. With appends of 56 bytes to indexes and blocks that end anywhere that was
// more than half of all seeks.
//
// Reads see what is held. flush() writes it; so does the destructor, which can only log an error.
// What is held when the process is killed is lost: callers cope with files that end early.
//
// Threads: any, concurrent writers of different ranges too: a write that does not continue what is
// held goes straight through. Memory: less than a page, what the HeldBytes give, and as much again
// for each write under way.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"

namespace shufflefs {

// What several files, or their like, hold together, beyond a page each. Threads: any.
struct HeldBytes {
  explicit HeldBytes(uint64_t most_bytes) : most(most_bytes) {}
  // False if it would be too much.
  [[nodiscard]] bool take(uint64_t bytes) {
    if (now.fetch_add(bytes) + bytes <= most) return true;
    now.fetch_sub(bytes);
    return false;
  }
  void give_back(uint64_t bytes) { now.fetch_sub(bytes); }
  const uint64_t most;
  std::atomic<uint64_t> now{0};
};

class TailFile : public File {
 public:
  static constexpr uint64_t kPage = 4096;
  // Of one file. A disk moves on by as much in the time that a seek takes. Larger pieces than
  // kLargestHeld the page cache gathers well enough.
  static constexpr uint64_t kMostHeld = 256U << 10U;
  static constexpr uint64_t kLargestHeld = 32U << 10U;

  // Without `held`: no more than a page.
  explicit TailFile(std::unique_ptr<File> below, std::shared_ptr<HeldBytes> held = nullptr)
      : below_(std::move(below)), budget_(std::move(held)) {}
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
  Result<FileStamp> stamp() override { return below_->stamp(); }
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
  // Flushes if nothing was written since the last call, or if something has been held for
  // kMostRounds of them.
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
  [[nodiscard]] Status find_end() REQUIRES(mu_);
  // Takes all of the write into what is held, if there is room.
  [[nodiscard]] bool hold_all(uint64_t offset, Pieces pieces, uint64_t bytes) REQUIRES(mu_);
  // What is held, which is nothing then.
  [[nodiscard]] Range take() REQUIRES(mu_);
  // Moves what is held to ranges_, if the write continues it.
  std::optional<Ranges::iterator> take_held(uint64_t offset) REQUIRES(mu_);
  void hold_end_of(Pieces pieces, uint64_t end, uint64_t bytes) REQUIRES(mu_);
  // Both give mu_ up meanwhile.
  [[nodiscard]] Status write_held() REQUIRES(mu_);
  [[nodiscard]] Status flush_first() REQUIRES(mu_);

  static constexpr int kMostRounds = 10;
  const std::unique_ptr<File> below_;
  const std::shared_ptr<HeldBytes> budget_;
  Mutex mu_;
  CondVar written_;
  bool holds_ GUARDED_BY(mu_) = true;
  bool touched_ GUARDED_BY(mu_) = false;         // since flush_if_idle()
  std::optional<uint64_t> end_ GUARDED_BY(mu_);  // the highest one that was ever written
  Range held_ GUARDED_BY(mu_);
  uint64_t taken_ GUARDED_BY(mu_) = 0;  // of budget_, for held_
  int rounds_ GUARDED_BY(mu_) = 0;      // calls of flush_if_idle() that left something held
  Ranges ranges_
      GUARDED_BY(mu_);  // were held: being written with what continues them, or could not be
  std::vector<std::shared_ptr<TailFile>> first_ GUARDED_BY(mu_);
  uint64_t asked_first_ GUARDED_BY(mu_) = 0;  // calls of flush_after()
};

}  // namespace shufflefs
