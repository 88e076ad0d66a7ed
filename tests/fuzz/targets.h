// Everything of ours that reads bytes which others have written, one target each. The fuzzer
// (fuzz_main.cc, the fuzz preset, scripts/fuzz) and the short run among the unit tests
// (replay_main.cc) call the same functions on the same corpus (corpus/<name>/).
//
// A target takes any bytes at all. What it must not do is crash, hang, or be reported by a
// sanitizer; where a decoder says yes, the target also checks that what it gave is within bounds.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace shufflefs::fuzz {

using Input = std::span<const std::byte>;

struct Target {
  std::string_view name;
  void (*run)(Input);
  bool is_session = false;  // a whole connection: costs a millisecond
};

[[nodiscard]] std::span<const Target> targets();
// Null if there is none of that name.
[[nodiscard]] const Target* find_target(std::string_view name);

}  // namespace shufflefs::fuzz
