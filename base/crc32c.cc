#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>

namespace shufflefs {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82F63B78;

// A 32x32 matrix over GF(2); column i is what bit i becomes.
using Matrix = std::array<uint32_t, 32>;

constexpr uint32_t apply(const Matrix& matrix, uint32_t vector) {
  uint32_t sum = 0;
  for (unsigned i = 0; vector != 0; ++i, vector >>= 1U) {
    if ((vector & 1U) != 0) sum ^= matrix[i];
  }
  return sum;
}

constexpr Matrix square(const Matrix& matrix) {
  Matrix result{};
  for (unsigned i = 0; i < 32; ++i) result[i] = apply(matrix, matrix[i]);
  return result;
}

// What appending one zero byte does to the register.
constexpr Matrix one_zero_byte() {
  Matrix one_bit{};
  one_bit[0] = kReflectedPolynomial;
  for (unsigned i = 1; i < 32; ++i) one_bit[i] = 1U << (i - 1);
  return square(square(square(one_bit)));
}

// powers[k] appends 2^k zero bytes.
constexpr std::array<Matrix, 64> make_powers() {
  std::array<Matrix, 64> powers{};
  powers[0] = one_zero_byte();
  for (unsigned k = 1; k < 64; ++k) powers[k] = square(powers[k - 1]);
  return powers;
}

}  // namespace

uint32_t crc32c(uint32_t crc, std::span<const std::byte> bytes) {
  // ISA-L takes an int length and a non-const pointer that it does not write through.
  constexpr std::size_t kMaxStep = std::size_t{1} << 30U;
  uint32_t state = ~crc;
  while (!bytes.empty()) {
    const std::size_t step = std::min(bytes.size(), kMaxStep);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(step), state);
    bytes = bytes.subspan(step);
  }
  return ~state;
}

uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_length) {
  static const std::array<Matrix, 64> powers = make_powers();
  for (unsigned k = 0; second_length != 0; ++k, second_length >>= 1U) {
    if ((second_length & 1U) != 0) first = apply(powers[k], first);
  }
  return first ^ second;
}

}  // namespace shufflefs
