// Makes inputs from a corpus by chance: what breaks parsers is bits, boundary values in every
// width, numbers off by one, pieces twice, missing or from another file. Without libFuzzer, which
// would need a build of everything with its instrumentation; so it does not learn, and the corpus
// is what scripts/fuzz has learnt.
//
// Pure functions; the same seed and corpus give the same inputs.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace shufflefs::fuzz {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

// REQUIRES: the corpus is not empty.
[[nodiscard]] Bytes mutated(const std::vector<Bytes>& corpus, Random& random);

}  // namespace shufflefs::fuzz
