#include "base/memory_budget.h"

#include <fmt/format.h>

#include "base/parse.h"

namespace shufflefs {
namespace {

// In 64ths of the total. Receive is a little more than push, so that a push of the largest size
// fits with its header.
constexpr uint64_t kParts = 64;
constexpr std::array<uint64_t, MemoryBudget::kPurposes.size()> kShares = {16, 17, 8, 9, 9};
constexpr uint64_t kCaches = 5;

}  // namespace

Task<Result<ByteBudget::Lease>> ByteBudget::acquire(uint64_t bytes, Duration timeout) {
  if (bytes > total_bytes())
    co_return make_error(
        Code::kTooLarge,
        fmt::format("a buffer of {} can never fit the memory budget of {}: raise --memory",
                    format_bytes(bytes), format_bytes(total_bytes())));
  auto permit = co_await bytes_.acquire(bytes, timeout);
  if (permit) co_return *std::move(permit);
  co_return make_error(Code::kNoMemory, fmt::format("the memory budget had no room for {} in time",
                                                    format_bytes(bytes)));
}

std::string_view to_string(MemoryPurpose purpose) {
  switch (purpose) {
    case MemoryPurpose::kPush: return "push";
    case MemoryPurpose::kReceive: return "receive";
    case MemoryPurpose::kRead: return "read";
    case MemoryPurpose::kServe: return "serve";
    case MemoryPurpose::kAnswer: return "answer";
  }
  return "unknown";
}

MemoryBudget::MemoryBudget(Runtime& runtime, uint64_t total_bytes) : total_(total_bytes) {
  for (std::size_t i = 0; i < shares_.size(); ++i)
    shares_[i] = std::make_unique<ByteBudget>(runtime, total_bytes / kParts * kShares[i]);
}

uint64_t MemoryBudget::caches_bytes() const { return total_ / kParts * kCaches; }

uint64_t MemoryBudget::used_bytes() const {
  uint64_t used = 0;
  for (const auto& share : shares_) used += share->used_bytes();
  return used;
}

void MemoryBudget::show(Metrics& metrics) const {
  const auto gauge = [&](const char* name, const char* help, auto value) {
    metrics.gauges(name, help, "purpose", [this, value] {
      Metrics::Samples samples;
      for (const MemoryPurpose purpose : kPurposes)
        samples.emplace_back(
            to_string(purpose),
            static_cast<double>(value(*shares_[static_cast<std::size_t>(purpose)])));
      return samples;
    });
  };
  gauge("shufflefs_memory_share_used_bytes", "Bytes leased from each share.",
        [](const ByteBudget& share) { return share.used_bytes(); });
  gauge("shufflefs_memory_share_bytes", "Shares of the memory budget.",
        [](const ByteBudget& share) { return share.total_bytes(); });
}

}  // namespace shufflefs
