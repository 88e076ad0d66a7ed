// The archives that a message's fields() runs through. A message is declared once, as
//
//   template <class A>
//   void fields(A& a, merge::GivenUp& given_up) {
//     a.text("reason", given_up.reason, kMaxTextBytes);
//     a.size("bytes", given_up.bytes);
//   }
//
// and encode(), decode(), the fuzzer and docs/messages.md follow from that (net/message_fields.h
// has all declarations). Headers are msgpack: a record is an array of its fields.
//
// MessageWriter packs the fields. MessageReader believes nothing: the first mistake sticks, from
// then on every value is zero or empty, and finish() returns the error.
//
// Why not msgpack::unpack: it builds a tree of 24 bytes per element before anything can be checked
// (a header of 16 MiB of one-byte elements would cost 400 MiB), and it throws. This reader
// allocates nothing but the texts and lists that it returns.
//
// Threads: one object, one thread. Ownership: the reader refers to the bytes. Failure: the reader's
// kProtocol names message and field; the writer has none.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <msgpack/pack.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net {

inline constexpr uint64_t kMaxLength = INT64_MAX;  // of anything that has a length in bytes

template <class T>
[[nodiscard]] constexpr uint64_t max_of() {
  if constexpr (std::is_enum_v<T>)
    return std::numeric_limits<std::underlying_type_t<T>>::max();
  else
    return std::numeric_limits<T>::max();
}

// What all archives derive from their list(), number() and tuple().
template <class A>
class Archive {
 public:
  void size(std::string_view what, uint64_t& value) { self().number(what, value, 0, kMaxLength); }
  // Of a logical clock: signed 64 bits hold it, so that no clock that observes it overflows.
  void clock(std::string_view what, uint64_t& value) { self().number(what, value, 0, INT64_MAX); }
  // A nested record, whose fields are those of its type, or what `each` says.
  template <class T>
  void record(std::string_view what, T& value) {
    self().record(what, value, [](auto& a, T& of) { fields(a, of); });
  }
  template <class T>
  void records(std::string_view what, std::vector<T>& values, std::size_t max_count = SIZE_MAX) {
    self().records_of(what, values, [](auto& a, T& of) { fields(a, of); }, max_count);
  }
  template <class T, class Each>
  void records_of(std::string_view what, std::vector<T>& values, Each each,
                  std::size_t max_count = SIZE_MAX) {
    self().list(what, values, [&](auto& a, T& value) { a.record(what, value, each); }, max_count);
  }

 private:
  A& self() { return static_cast<A&>(*this); }
};

// Counts the fields of a record, and the least bytes that they take.
class Shape : public Archive<Shape> {
 public:
  using Archive::record;
  template <class T>
  void number(std::string_view, T&, uint64_t = 0, uint64_t = 0) {
    add(1);
  }
  void boolean(std::string_view, bool&) { add(1); }
  void text(std::string_view, std::string&, std::size_t) { add(1); }
  template <class Name>
  void name(std::string_view, Name&) {
    add(2);  // a name has at least one character
  }
  void bytes(std::string_view, std::span<std::byte> value) { add(2 + value.size()); }
  void bytes(std::string_view, std::vector<uint8_t>&, uint64_t) { add(2); }
  template <class T, class Each>
  void optional(std::string_view, std::optional<T>&, Each) {
    add(1);
  }
  template <class T, class Each>
  void list(std::string_view, std::vector<T>&, Each, std::size_t = 0) {
    add(1);
  }
  template <class T, class Each>
  void record(std::string_view, T& value, Each each) {
    Shape inner;
    each(inner, value);
    add(1 + inner.min_bytes_);
  }
  template <class Check>
  void check(Check) {}

  [[nodiscard]] uint32_t count() const { return count_; }
  [[nodiscard]] std::size_t min_bytes() const { return min_bytes_; }

 private:
  void add(std::size_t min_bytes) {
    ++count_;
    min_bytes_ += min_bytes;
  }
  uint32_t count_ = 0;
  std::size_t min_bytes_ = 0;
};

template <class T, class Each>
[[nodiscard]] Shape shape_of(T& value, Each& each) {
  Shape shape;
  each(shape, value);
  return shape;
}

class MessageWriter : public Archive<MessageWriter> {
 public:
  using Archive::record;
  // An array of that many elements, which follow.
  void tuple(std::size_t count) { packer_.pack_array(static_cast<uint32_t>(count)); }
  template <class T>
  void number(std::string_view, T value, uint64_t = 0, uint64_t = 0) {
    packer_.pack_uint64(static_cast<uint64_t>(value));
  }
  void boolean(std::string_view, bool value) { value ? packer_.pack_true() : packer_.pack_false(); }
  void nil() { packer_.pack_nil(); }
  // Of any bytes a text that everybody can show, cut at `max_bytes`, which the reader enforces: one
  // reason that is odd or long must not make the whole answer unreadable.
  void text(std::string_view what, std::string_view value, std::size_t max_bytes);
  template <class Name>
  void name(std::string_view, const Name& value) {
    text({}, value.str(), value.str().size());
  }
  void bytes(std::string_view, std::span<const std::byte> value);
  void bytes(std::string_view what, const std::vector<uint8_t>& value, uint64_t) {
    bytes(what, std::as_bytes(std::span(value)));
  }
  template <class T, class Each>
  void optional(std::string_view, std::optional<T>& value, Each each) {
    value ? each(*this, *value) : nil();
  }
  // REQUIRES: the count fits 32 bits.
  template <class T, class Each>
  void list(std::string_view, std::vector<T>& values, Each each, std::size_t = 0) {
    tuple(values.size());
    for (T& value : values) each(*this, value);
  }
  template <class T, class Each>
  void record(std::string_view, T& value, Each each) {
    tuple(shape_of(value, each).count());
    each(*this, value);
  }
  template <class Check>
  void check(Check) {}

  [[nodiscard]] Bytes take() { return std::move(sink_.bytes); }

 private:
  struct Sink {
    Bytes bytes;
    void write(const char* data, std::size_t size) {
      const auto more = std::as_bytes(std::span(data, size));
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
  };
  Sink sink_;
  msgpack::packer<Sink> packer_{sink_};
};

class MessageReader : public Archive<MessageReader> {
 public:
  using Archive::record;
  MessageReader(std::string_view message, std::span<const std::byte> bytes)
      : message_(message), rest_(bytes) {}

  // An array of exactly `count` elements.
  void tuple(std::string_view what, std::size_t count);
  // An array of at least `count` elements, of which only those will be read: for messages that must
  // be understood across versions. finish() is not possible after it.
  void open_tuple(std::string_view what, std::size_t count);
  template <class T>
  void number(std::string_view what, T& value, uint64_t min = 0, uint64_t max = max_of<T>()) {
    value = static_cast<T>(take_number(what, min, max));
  }
  void boolean(std::string_view what, bool& value);
  // Any bytes: who shows them escapes them (base/escape.h), and an answer does not fail for a text.
  void text(std::string_view what, std::string& value, std::size_t max_bytes) {
    value = take_text(what, max_bytes);
  }
  template <class Name>
  void name(std::string_view what, Name& value) {
    const std::string_view text = take_text(what, kMaxNameBytes);
    if (failed()) return;
    auto parsed = Name::parse(text);
    if (parsed)
      value = *std::move(parsed);
    else
      refuse(what, parsed.error().message);
  }
  // Exactly as many bytes as `into` has.
  void bytes(std::string_view what, std::span<std::byte> into);
  void bytes(std::string_view what, std::vector<uint8_t>& value, uint64_t max_bytes);
  // A nil, or what `each` reads.
  template <class T, class Each>
  void optional(std::string_view, std::optional<T>& value, Each each) {
    value.reset();
    if (!take_nil()) each(*this, value.emplace());
  }
  // A count that the remaining bytes cannot hold is refused before anything is reserved for it.
  template <class T, class Each>
  void list(std::string_view what, std::vector<T>& values, Each each,
            std::size_t max_count = SIZE_MAX) {
    T sample{};
    const std::size_t count = take_count(what, shape_of(sample, each).min_bytes(), max_count);
    values.clear();
    values.reserve(count);
    for (std::size_t i = 0; i < count && !failed(); ++i) each(*this, values.emplace_back());
  }
  template <class T, class Each>
  void record(std::string_view what, T& value, Each each) {
    tuple(what, shape_of(value, each).count());
    each(*this, value);
  }
  // What goes beyond a single field: `check` may refuse().
  template <class Check>
  void check(Check check) {
    if (!failed()) check(*this);
  }

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
  static constexpr std::size_t kMaxNameBytes = 200;  // parse() may take less
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
  uint64_t take_number(std::string_view what, uint64_t min, uint64_t max);
  std::string_view take_text(std::string_view what, std::size_t max_bytes);
  std::size_t take_count(std::string_view what, std::size_t min_element_bytes,
                         std::size_t max_count);
  bool take_nil();

  std::string_view message_;
  std::span<const std::byte> rest_;
  std::optional<Error> error_;
};

// A writer only reads: fields() takes a reference that a reader may write through.
template <class T>
[[nodiscard]] Bytes encode(const T& value) {
  MessageWriter writer;
  writer.record("fields", const_cast<T&>(value));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  return writer.take();
}

// `message` names it in errors; `value` is what the header is read into.
template <class T>
[[nodiscard]] Result<T> decode(std::string_view message, std::span<const std::byte> header,
                               T value = {}) {
  MessageReader reader(message, header);
  reader.record("fields", value);
  return reader.finish(std::move(value));
}

}  // namespace shufflefs::net
