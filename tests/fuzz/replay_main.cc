// The corpus without libFuzzer: every file as it is, cut at every length, and changed at random
// (the same changes in every run). Part of the ordinary test run, so also of the sanitizers' ones.
//
//   fuzz_replay CORPUS [CHANGES]     CORPUS/<target>/<file>; CHANGES a file, 500 by default
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "base/log.h"
#include "tests/fuzz/targets.h"

namespace {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// What breaks parsers: bits, boundary values in every width, pieces twice or missing.
Bytes changed(Bytes bytes, Random& random) {
  constexpr std::array<uint64_t, 8> kBoundaries = {
      0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, uint64_t{1} << 62U, UINT64_MAX};
  for (uint64_t left = 1 + random() % 4; left > 0; --left) {
    if (bytes.empty()) bytes.push_back(std::byte{0});
    const std::size_t at = random() % bytes.size();
    const std::size_t length = random() % std::min<std::size_t>(bytes.size() - at + 1, 64);
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random() % 5) {
      case 0: bytes[at] ^= static_cast<std::byte>(1U << (random() % 8)); break;
      case 1: bytes[at] = static_cast<std::byte>(random()); break;
      case 2: {
        uint64_t value = kBoundaries.at(random() % kBoundaries.size());
        if (random() % 2 == 0) value = __builtin_bswap64(value);
        std::memcpy(&bytes[at], &value,
                    std::min<std::size_t>(bytes.size() - at, 1U << random() % 4));
        break;
      }
      case 3: bytes.erase(place, place + static_cast<std::ptrdiff_t>(length)); break;
      default: {
        const Bytes piece(place, place + static_cast<std::ptrdiff_t>(length));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % (bytes.size() + 1)),
                     piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

std::size_t replay(const shufflefs::fuzz::Target& target, const Bytes& seed, uint64_t changes) {
  constexpr std::size_t kMostCuts = 512;
  std::size_t runs = 1;
  target.run(seed);
  for (std::size_t cut = 0; cut < std::min(seed.size(), kMostCuts); ++cut, ++runs)
    target.run(std::span(seed).first(cut));
  Random random(seed.size());  // NOLINT(cert-msc51-cpp): the same in every run
  for (uint64_t i = 0; i < changes; ++i, ++runs) target.run(changed(seed, random));
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  shufflefs::log_set_level(shufflefs::LogLevel::kError);
  const uint64_t changes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 500;
  bool complete = true;
  for (const auto& target : shufflefs::fuzz::targets()) {
    std::size_t files = 0;
    std::size_t runs = 0;
    std::error_code error;
    const std::filesystem::path corpus = std::filesystem::path(argv[1]) / target.name;
    for (const auto& entry : std::filesystem::directory_iterator(corpus, error)) {
      ++files;
      runs += replay(target, read(entry.path()), changes);
    }
    std::printf("%-16s %3zu files %7zu runs\n", std::string(target.name).c_str(), files, runs);
    complete = complete && files > 0;
  }
  if (!complete) std::fputs("a target has no corpus\n", stderr);
  return complete ? 0 : 1;
}
