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
// Threads: as ByteBudget. Ownership: outlives its users; leases may outlive it.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "base/byte_budget.h"
#include "base/metrics.h"

namespace shufflefs {

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
