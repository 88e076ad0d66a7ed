#include "merge/logical_clock.h"

#include <algorithm>
#include <span>

#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kStep = 1U << 20U;  // numbers that one write of the file covers

uint64_t bound_above(uint64_t number) { return std::min(number, UINT64_MAX - kStep) + kStep; }

}  // namespace

Status LogicalClock::load(WallTime now) {
  uint64_t begin =
      static_cast<uint64_t>(now.time_since_epoch() / std::chrono::milliseconds(1)) * kStep;
  if (!path_.empty()) {
    const auto bytes = read_file(io_, path_, 64);
    if (!bytes && bytes.error().code != Code::kNotFound) return bytes.error();
    if (bytes) {
      std::string_view text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
      if (text.ends_with('\n')) text.remove_suffix(1);
      const auto bound = parse_decimal(text);
      if (!bound)
        return make_error(Code::kCorruptData,
                          path_ + " does not hold a number; remove it to begin at the wall clock");
      begin = *bound;
    }
  }
  value_ = begin;
  return path_.empty() ? ok() : write_bound(bound_above(begin));
}

uint64_t LogicalClock::tick_for_drop(NodeTag self) {
  constexpr uint64_t kLastBits = 0xFFFF;
  uint64_t known = value_.load();
  uint64_t next = 0;
  do {
    next = (known & ~kLastBits) | (number(self) & kLastBits);
    if (next <= known) next += kLastBits + 1;
  } while (!value_.compare_exchange_weak(known, next));
  return next;
}

void LogicalClock::observe(uint64_t number) {
  uint64_t known = value_.load();
  while (known < number && !value_.compare_exchange_weak(known, number)) {
  }
}

Status LogicalClock::cover(uint64_t number) {
  if (number <= bound_.load() || path_.empty()) return ok();
  const MutexLock lock(writing_);
  if (number <= bound_.load()) return ok();
  return write_bound(bound_above(std::max(number, value_.load())));
}

Status LogicalClock::write_bound(uint64_t bound) {
  const std::string text = std::to_string(bound) + "\n";
  TRY(replace_file(io_, path_, std::as_bytes(std::span(text))));
  bound_ = bound;
  return ok();
}

}  // namespace shufflefs::merge
