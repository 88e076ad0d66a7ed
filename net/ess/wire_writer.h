// Puts the fields of a message of Spark's protocol one behind the other, big-endian. One object,
// one thread; cannot fail.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/endian.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

class WireWriter {
 public:
  template <std::integral T>
  WireWriter& number(T value) {
    if constexpr (sizeof(T) == 1) {
      bytes_.push_back(static_cast<std::byte>(value));
    } else {
      bytes_.resize(bytes_.size() + sizeof(T));
      store_be(&bytes_[bytes_.size() - sizeof(T)], value);
    }
    return *this;
  }
  WireWriter& raw(std::span<const std::byte> value) {
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    return *this;
  }
  WireWriter& text(std::string_view value) {
    return number(static_cast<int32_t>(value.size())).raw(std::as_bytes(std::span(value)));
  }
  [[nodiscard]] Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace shufflefs::net::ess
