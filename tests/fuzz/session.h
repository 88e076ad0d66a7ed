// What the targets of whole connections share: the input read as a script. Who plays it against a
// server of this process, over loopback, is tests/support/stranger.h; a server that neither answers
// nor closes makes it throw, which is a finding.
#pragma once

#include "support/stranger.h"
#include "tests/fuzz/targets.h"

namespace shufflefs::fuzz {

using testing::connect_to;
using testing::Loop;
using testing::Stranger;

// What must hold whatever the input is.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

// Reads numbers and pieces off the front of the input; past its end everything is zero and empty.
class Script {
 public:
  explicit Script(Input input) : rest_(input) {}
  [[nodiscard]] bool done() const { return rest_.empty(); }
  uint64_t number(std::size_t bytes);
  uint8_t byte() { return static_cast<uint8_t>(number(1)); }
  // A length of `length_bytes` bytes, then as many bytes as it says and there are.
  Input piece(std::size_t length_bytes);
  Input rest() { return std::exchange(rest_, {}); }

 private:
  Input rest_;
};

}  // namespace shufflefs::fuzz
