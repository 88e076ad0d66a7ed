// The daemon's memory budget (--memory), divided by purpose, so that one report can say who holds
// the bytes and no purpose can starve another.
//
// The shares are hard, and that is what makes waiting safe. Whoever waits for a share waits only
// for holders that end by themselves or that wait for a share further down this list:
//
//   push     a chunk read from a map output, held until its owner has answered. Waits for the
//            owner's receive share, over the network.
//   receive  a request of another node, held while it is merged. Waits for the disk only.
//   read     what is fetched ahead for a reader of this node. Waits for serve (here or elsewhere)
//            and for answer.
//   serve    bytes read from the disk to answer a node, held until they are sent (bounded by time).
//   answer   an answer of another node on its way into a buffer that is there already; what the
//            kernel is about to get.
//
// So two nodes that push to each other, or readers that read each other's files, never wait for
// one another. What is left is for caches (caches_bytes), which shrink and never wait.
//
// Threads: acquire() on the reactor; a lease is given back on any thread. Ownership: a budget
// outlives its users; leases and buffers may outlive it.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"
#include "base/semaphore.h"

namespace shufflefs {

// A number of bytes to lease. Who finds too few of them waits; that is the back-pressure.
class ByteBudget {
 public:
  using Lease = Semaphore::Permit;

  ByteBudget(Runtime& runtime, uint64_t total_bytes) : bytes_(runtime, total_bytes) {}

  // kNoMemory if `bytes` did not fit in time; kTooLarge at once if they never could.
  [[nodiscard]] Task<Result<Lease>> acquire(uint64_t bytes, Duration timeout);

  [[nodiscard]] uint64_t total_bytes() const { return bytes_.total(); }
  [[nodiscard]] uint64_t used_bytes() const { return bytes_.used(); }

 private:
  Semaphore bytes_;
};

// A block of bytes with the lease that allowed it. Move-only.
class Buffer {
 public:
  Buffer() = default;
  // Uninitialised bytes; `lease` may be empty where the caller accounts otherwise (tests, tiny
  // buffers).
  explicit Buffer(std::size_t size, ByteBudget::Lease lease = {})
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(size)),
        size_(size),
        lease_(std::move(lease)) {}
  Buffer(Buffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        lease_(std::move(other.lease_)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    lease_ = std::move(other.lease_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() = default;

  [[nodiscard]] std::byte* data() { return bytes_.get(); }
  [[nodiscard]] const std::byte* data() const { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> span() { return {bytes_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> span() const { return {bytes_.get(), size_}; }
  // Accounts for the bytes elsewhere from now on: they stay for longer than their first lease
  // should.
  void set_lease(ByteBudget::Lease lease) { lease_ = std::move(lease); }
  // Makes the buffer shorter (after a short read). REQUIRES: size <= size().
  void shrink(std::size_t size) { size_ = size; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0;
  ByteBudget::Lease lease_;
};

enum class MemoryPurpose : uint8_t { kPush, kReceive, kRead, kServe, kAnswer };

class MemoryBudget {
 public:
  static constexpr std::array kPurposes = {MemoryPurpose::kPush, MemoryPurpose::kReceive,
                                           MemoryPurpose::kRead, MemoryPurpose::kServe,
                                           MemoryPurpose::kAnswer};
  // The least total in which each purpose can hold what it must: a push of a quarter of the total
  // and a read of 4 MiB.
  static constexpr uint64_t kLeastBytes = 32ULL << 20U;

  MemoryBudget(Runtime& runtime, uint64_t total_bytes);

  [[nodiscard]] ByteBudget& of(MemoryPurpose purpose) {
    return *shares_[static_cast<std::size_t>(purpose)];
  }
  // What the caches of the daemon may take together. Not leased.
  [[nodiscard]] uint64_t caches_bytes() const;
  [[nodiscard]] uint64_t total_bytes() const { return total_; }
  [[nodiscard]] uint64_t used_bytes() const;
  // Registers the shares and what is used of them. The budget outlives the rendering.
  void show(Metrics& metrics) const;

 private:
  const uint64_t total_;
  std::array<std::unique_ptr<ByteBudget>, kPurposes.size()> shares_;
};

[[nodiscard]] std::string_view to_string(MemoryPurpose purpose);

}  // namespace shufflefs
