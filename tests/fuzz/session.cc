#include "tests/fuzz/session.h"

#include <algorithm>

namespace shufflefs::fuzz {

uint64_t Script::number(std::size_t bytes) {
  uint64_t value = 0;
  for (; bytes > 0 && !rest_.empty(); --bytes, rest_ = rest_.subspan(1))
    value = (value << 8U) | std::to_integer<uint64_t>(rest_.front());
  return value;
}

Input Script::piece(std::size_t length_bytes) {
  const std::size_t length = std::min<std::size_t>(number(length_bytes), rest_.size());
  const Input taken = rest_.first(length);
  rest_ = rest_.subspan(length);
  return taken;
}

}  // namespace shufflefs::fuzz
