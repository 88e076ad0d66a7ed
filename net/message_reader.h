// Reads the fields of a msgpack header in order, believing nothing.
//
// The first mistake sticks: from then on every read gives a zero or empty value, and finish()
// returns the error. So a decoder is a list of fields, and a loop over a claimed count ends at once
// (list() gives 0 after a mistake).
//
// Why not msgpack::unpack: it builds a tree of 24 bytes per element before anything can be checked
// (a header of 16 MiB of one-byte elements would cost 400 MiB), and it throws. This reader
// allocates nothing but the texts it returns.
//
// Threads: one object, one thread. Ownership: refers to the bytes. Failure: kProtocol, naming
// message and field.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "merge/app_owners.h"
#include "merge/ids.h"

namespace shufflefs::net {

class MessageReader {
 public:
  MessageReader(std::string_view message, std::span<const std::byte> bytes)
      : message_(message), rest_(bytes) {}

  // An array of exactly `fields` elements.
  void tuple(std::string_view what, uint32_t fields);
  // An array of at least `fields` elements, of which only those will be read: for messages that
  // must be understood across versions. finish() is not possible after it.
  void open_tuple(std::string_view what, uint32_t fields);
  // An array of any number of elements of at least `least_element_bytes` each: a count that the
  // remaining bytes cannot hold is refused, so that the caller may reserve for it.
  [[nodiscard]] std::size_t list(std::string_view what, std::size_t least_element_bytes);
  [[nodiscard]] uint64_t number(std::string_view what, uint64_t least, uint64_t most);
  [[nodiscard]] bool boolean(std::string_view what);
  // Any bytes: who shows them escapes them (base/escape.h), and an answer does not fail for a text.
  [[nodiscard]] std::string_view text(std::string_view what, std::size_t max_bytes);
  [[nodiscard]] std::span<const std::byte> binary(std::string_view what, std::size_t max_bytes);
  // Takes a nil if one is next.
  [[nodiscard]] bool nil();

  [[nodiscard]] merge::AppId app();
  [[nodiscard]] merge::NodeName node(std::string_view what);
  [[nodiscard]] merge::ShuffleId shuffle();
  [[nodiscard]] merge::ShuffleKey shuffle_key();
  [[nodiscard]] merge::MapId map();
  [[nodiscard]] merge::PartitionId partition(std::string_view what);
  // Of a logical clock (a commit, a life): signed 64 bits hold it, so that no clock that observes
  // it overflows.
  [[nodiscard]] uint64_t clock_number(std::string_view what);
  [[nodiscard]] merge::FileOwner owner();
  [[nodiscard]] std::optional<merge::FileOwner> owner_or_nil();

  // A check of the caller's own has failed.
  void refuse(std::string_view what, std::string_view why);
  [[nodiscard]] bool failed() const { return error_.has_value(); }

  // The value, if every read succeeded and all bytes were used.
  template <class T>
  [[nodiscard]] Result<T> finish(T value) {
    if (!failed() && !rest_.empty()) refuse("end", "bytes follow the last field");
    if (failed()) return *std::move(error_);
    return value;
  }

 private:
  struct Token {
    enum class Kind : uint8_t { kOther, kNumber, kBoolean, kNil, kText, kBinary, kArray };
    Kind kind = Kind::kOther;
    uint64_t value = 0;  // the number, the boolean, or the length
  };
  // The next token without its body; nothing after a mistake or at the end.
  std::optional<Token> next(std::string_view what);
  std::optional<Token> next_of(std::string_view what, Token::Kind kind, std::string_view name);
  std::optional<uint64_t> big_endian(std::size_t bytes);
  std::span<const std::byte> body(std::string_view what, Token::Kind kind, std::string_view name,
                                  std::size_t max_bytes);

  std::string_view message_;
  std::span<const std::byte> rest_;
  std::optional<Error> error_;
};

}  // namespace shufflefs::net
