// The fields of a message of Spark's protocol, big-endian: a reader that believes nothing, and a
// writer.
//
// Threads: one object, one thread. Ownership: the reader refers to the bytes, and texts are views
// of them. Failure: kProtocol, naming message and field; the writer cannot fail. Cost: nothing is
// allocated while reading. A count that the remaining bytes cannot hold is a mistake, so the caller
// may reserve for it.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/endian.h"
#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The first mistake sticks: from then on every read gives zero or empty.
class WireReader {
 public:
  WireReader(std::string_view message, std::span<const std::byte> bytes)
      : message_(message), rest_(bytes) {}

  template <std::integral T>
  [[nodiscard]] T number(std::string_view what) {
    if (!has(what, sizeof(T))) return 0;
    T value{};
    if constexpr (sizeof(T) == 1)
      value = static_cast<T>(rest_.front());
    else
      value = load_be<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  // Of an id that is never negative.
  [[nodiscard]] int32_t id32(std::string_view what) { return not_negative<int32_t>(what); }
  [[nodiscard]] int64_t id64(std::string_view what) { return not_negative<int64_t>(what); }

  [[nodiscard]] std::string_view text(std::string_view what, std::size_t max) {
    const auto size = static_cast<std::size_t>(id32(what));
    if (size > max) refuse(what, "it is too long");
    if (!has(what, size)) return {};
    const std::string_view value = as_text(rest_.first(size));
    rest_ = rest_.subspan(size);
    return value;
  }
  // The number of elements that follow, each of at least `min_bytes`.
  [[nodiscard]] std::size_t count(std::string_view what, std::size_t min_bytes) {
    const auto size = static_cast<std::size_t>(id32(what));
    if (!failed() && size > rest_.size() / min_bytes)
      refuse(what, "it claims more elements than the message has bytes for");
    return failed() ? 0 : size;
  }
  [[nodiscard]] std::span<const std::byte> rest() {
    const auto all = failed() ? std::span<const std::byte>() : rest_;
    rest_ = {};
    return all;
  }

  void refuse(std::string_view what, std::string_view why) {
    if (!error_)
      error_ = make_error(Code::kProtocol, fmt::format("{}: {}: {}", message_, what, why));
  }
  [[nodiscard]] bool failed() const { return error_.has_value(); }
  [[nodiscard]] Error error() const { return *error_; }

 private:
  [[nodiscard]] bool has(std::string_view what, std::size_t bytes) {
    if (rest_.size() < bytes) refuse(what, "the message ends within it");
    return !failed();
  }
  template <std::signed_integral T>
  [[nodiscard]] T not_negative(std::string_view what) {
    const T value = number<T>(what);
    if (value < 0) refuse(what, "it is negative");
    return failed() ? 0 : value;
  }

  std::string_view message_;
  std::span<const std::byte> rest_;
  std::optional<Error> error_;
};

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
  // With take_frame(): a frame of this FrameType.
  template <class Type>
  [[nodiscard]] static WireWriter frame(Type type) {
    WireWriter writer;
    writer.number(int64_t{0}).number(static_cast<int8_t>(type));
    return writer;
  }
  // Writes the length: what is in the frame so far and `body` bytes that will follow.
  [[nodiscard]] Bytes take_frame(uint64_t body = 0) {
    store_be(bytes_.data(), static_cast<int64_t>(bytes_.size() + body));
    return take();
  }

 private:
  Bytes bytes_;
};

}  // namespace shufflefs::net::ess
