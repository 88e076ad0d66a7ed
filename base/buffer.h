// A block of bytes together with the lease on the memory budget that allowed it. Move-only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/byte_budget.h"

namespace shufflefs {

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

}  // namespace shufflefs
