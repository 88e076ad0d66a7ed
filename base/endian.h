// Fixed-size integers in byte strings. Spark's files are big-endian; our own formats are
// little-endian. REQUIRES: the pointed-to range holds sizeof(T) bytes.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace shufflefs {

static_assert(std::endian::native == std::endian::little,
              "the formats are written for little-endian machines");

template <std::integral T>
[[nodiscard]] T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <std::integral T>
void store_le(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

template <std::integral T>
[[nodiscard]] T byte_swap(T value) {
  static_assert(sizeof(T) == 8 || sizeof(T) == 4);
  if constexpr (sizeof(T) == 8)
    return static_cast<T>(__builtin_bswap64(static_cast<unsigned long>(value)));
  return static_cast<T>(__builtin_bswap32(static_cast<unsigned int>(value)));
}

template <std::integral T>
[[nodiscard]] T load_be(const std::byte* from) {
  return byte_swap(load_le<T>(from));
}

template <std::integral T>
void store_be(std::byte* to, T value) {
  store_le(to, byte_swap(value));
}

}  // namespace shufflefs
