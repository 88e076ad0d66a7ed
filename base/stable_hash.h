// Hashes whose values are the same for every build, machine and version: for what nodes compare
// with each other and what is written down. Not against an attacker: seeded_hash.h.
//
// FNV-1a by Fowler, Noll and Vo; the finalizer of splitmix64 by Sebastiano Vigna.
#pragma once

#include <cstdint>
#include <string_view>

namespace shufflefs {

// `state`: of what comes before the text.
[[nodiscard]] constexpr uint64_t fnv1a(std::string_view text,
                                       uint64_t state = 0xCBF29CE484222325ULL) {
  for (const char letter : text)
    state = (state ^ static_cast<unsigned char>(letter)) * 0x100000001B3ULL;
  return state;
}

// Every bit of the value changes about half of the bits.
[[nodiscard]] constexpr uint64_t mixed_bits(uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31U);
}

}  // namespace shufflefs
