// Two kinds of hashes, neither of them cryptographic. Threads: any.
//
// fnv1a() and mixed_bits() have the same value for every build, machine and version: for what nodes
// compare with each other and what is written down. FNV-1a by Fowler, Noll and Vo; the finalizer of
// splitmix64 by Sebastiano Vigna.
//
// SeededHash is for tables whose keys others choose: peers, clients and users. Its seed is drawn
// when the process starts, so that nobody can choose keys which all fall into one bucket. Cost: two
// multiplications for a number, and for each eight bytes of a text.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
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

struct SeededHash {
  using is_transparent = void;

  std::size_t operator()(uint64_t value) const noexcept {
    const Seed& secret = seed();
    __extension__ using Wide = unsigned __int128;
    const Wide first = Wide{value ^ secret.first} * secret.second;
    const auto folded = static_cast<uint64_t>(first) ^ static_cast<uint64_t>(first >> 64U);
    const Wide second = Wide{folded ^ secret.second} * secret.first;
    return static_cast<std::size_t>(static_cast<uint64_t>(second) ^
                                    static_cast<uint64_t>(second >> 64U));
  }
  // Eight bytes at a time, each mixed with what came before.
  std::size_t operator()(std::string_view text) const noexcept {
    uint64_t hash = text.size();
    while (!text.empty()) {
      uint64_t word = 0;
      const std::size_t step = std::min(text.size(), sizeof word);
      text.copy(reinterpret_cast<char*>(&word), step);
      text.remove_prefix(step);
      hash = (*this)(hash * kOdd ^ word);
    }
    return static_cast<std::size_t>(hash);
  }

 private:
  static constexpr uint64_t kOdd = 0x9E3779B97F4A7C15;
  struct Seed {
    uint64_t first;
    uint64_t second;
  };
  static const Seed& seed() {
    static const Seed drawn = [] {
      std::random_device random;
      const auto word = [&random] { return (uint64_t{random()} << 32U | random()) | 1U; };
      return Seed{word(), word()};
    }();
    return drawn;
  }
};

}  // namespace shufflefs
