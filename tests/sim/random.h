// A small seeded generator: the same numbers on every machine and standard library.
#pragma once

#include <cstdint>

namespace shufflefs::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // A generator of its own for each purpose: what one part draws does not move the others.
  [[nodiscard]] Random fork() { return Random(next()); }

  uint64_t next() {  // splitmix64
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31U);
  }
  // 0 .. bound - 1. REQUIRES: bound > 0.
  uint64_t below(uint64_t bound) { return next() % bound; }
  uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
  bool chance(double probability) {
    return static_cast<double>(next() >> 11U) * 0x1.0p-53 < probability;
  }

 private:
  uint64_t state_;
};

}  // namespace shufflefs::sim
