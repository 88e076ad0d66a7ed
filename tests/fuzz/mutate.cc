#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace shufflefs::fuzz {
namespace {

constexpr std::size_t kMostBytes = 65536;  // as scripts/fuzz has it
constexpr std::size_t kMostPiece = 64;

std::size_t below(std::size_t end, Random& random) { return random() % end; }

// A number in the middle of the bytes, of 1, 2, 4 or 8 bytes in either order.
void change_number(std::span<std::byte> from_here, Random& random) {
  constexpr std::array<uint64_t, 10> kBoundaries = {
      0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, uint64_t{1} << 62U, UINT64_MAX};
  const std::size_t width = std::min<std::size_t>(from_here.size(), 1U << below(4, random));
  const bool swapped = below(2, random) == 0;
  const unsigned unused_bits = 64U - 8U * static_cast<unsigned>(width);
  uint64_t value = 0;
  std::memcpy(&value, from_here.data(), width);
  if (swapped) value = __builtin_bswap64(value) >> unused_bits;
  if (below(3, random) == 0) {
    value += below(33, random) - 16;  // off by a little, around zero too
  } else {
    value = kBoundaries.at(below(kBoundaries.size(), random));
  }
  if (swapped) value = __builtin_bswap64(value << unused_bits);
  std::memcpy(from_here.data(), &value, width);
}

std::span<const std::byte> some_piece(const Bytes& bytes, Random& random) {
  if (bytes.empty()) return {};
  const std::size_t at = below(bytes.size(), random);
  const std::size_t most = std::min(bytes.size() - at, kMostPiece);
  return std::span(bytes).subspan(at, 1 + below(most, random));
}

void change(Bytes& bytes, const std::vector<Bytes>& corpus, Random& random) {
  static_assert(std::endian::native == std::endian::little);
  if (bytes.empty()) bytes.push_back(std::byte{0});
  const std::size_t at = below(bytes.size(), random);
  const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  switch (below(9, random)) {
    case 0: bytes[at] ^= static_cast<std::byte>(1U << below(8, random)); return;
    case 1: bytes[at] = static_cast<std::byte>(random()); return;
    case 2:
    case 3: return change_number(std::span(bytes).subspan(at), random);
    case 4: {
      const std::size_t length = std::min(bytes.size() - at, 1 + below(kMostPiece, random));
      bytes.erase(place, place + static_cast<std::ptrdiff_t>(length));
      return;
    }
    case 5: {  // twice, which a container does not like to do with itself
      const auto piece = some_piece(bytes, random);
      const Bytes copy(piece.begin(), piece.end());
      bytes.insert(place, copy.begin(), copy.end());
      return;
    }
    case 6: {  // of another file, instead or between
      const auto piece = some_piece(corpus[below(corpus.size(), random)], random);
      if (below(2, random) == 0) {
        bytes.insert(place, piece.begin(), piece.end());
      } else {
        std::copy_n(piece.begin(), std::min(piece.size(), bytes.size() - at), place);
      }
      return;
    }
    case 7: bytes.resize(at); return;
    default: {  // the beginning of this one and the end of another
      const Bytes& other = corpus[below(corpus.size(), random)];
      bytes.resize(at);
      const std::size_t from = other.empty() ? 0 : below(other.size(), random);
      bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
    }
  }
}

}  // namespace

Bytes mutated(const std::vector<Bytes>& corpus, Random& random) {
  Bytes bytes = corpus[below(corpus.size(), random)];
  // Mostly one change, sometimes many: a parser rarely survives several to show more.
  for (std::size_t left = std::size_t{1} << below(4, random); left > 0; --left)
    change(bytes, corpus, random);
  bytes.resize(std::min(bytes.size(), kMostBytes));
  return bytes;
}

}  // namespace shufflefs::fuzz
