// The fields of a record, declared once for writing and reading:
//
//   template <class A>
//   void fields(A& a, typename A::template Of<merge::GivenUp> given_up) {
//     a.tuple("given up", 2);
//     a.text("reason", given_up.reason, kMaxTextBytes);
//     a.size("bytes", given_up.bytes);
//   }
//
// FieldWriter packs them; FieldReader takes them and refuses what is out of range
// (net/message_reader.h). The bounds are checked only by the reader.
//
// Threads: one object, one thread. Include in one .cc each: the records' fields() are found by
// argument-dependent lookup, so they stand in this namespace.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "merge/commit_id.h"
#include "net/message_reader.h"
#include "net/message_writer.h"
#include "net/messages.h"

namespace shufflefs::net {

class FieldWriter {
 public:
  template <class T>
  using Of = const T&;

  void tuple(std::string_view, uint32_t count) { writer_.tuple(count); }
  template <class T>
  void number(std::string_view, T value, uint64_t = 0, uint64_t = 0) {
    writer_.number(static_cast<uint64_t>(value));
  }
  void size(std::string_view, uint64_t value) { writer_.number(value); }
  void clock_number(std::string_view, uint64_t value) { writer_.number(value); }
  void boolean(std::string_view, bool value) { writer_.boolean(value); }
  void boolean_or_nil(std::string_view, const std::optional<bool>& value) {
    value ? writer_.boolean(*value) : writer_.nil();
  }
  void text(std::string_view, const std::string& value, std::size_t max_bytes) {
    writer_.text(value, max_bytes);
  }
  void app(const merge::AppId& value) { writer_.app(value); }
  void node(std::string_view, const merge::NodeName& value) { writer_.node(value); }
  void shuffle_key(const merge::ShuffleKey& value) { writer_.shuffle_key(value); }
  void shuffle_or_nil(const std::optional<merge::ShuffleId>& value) {
    value ? writer_.number(merge::number(*value)) : writer_.nil();
  }
  void map(merge::MapId value) { writer_.map(value); }
  void partition(std::string_view, merge::PartitionId value) { writer_.partition(value); }
  void commit_id(const merge::CommitId& value) {
    writer_.number(value.commit);
    writer_.number(merge::number(value.origin));
  }
  void owner(const merge::FileOwner& value) { writer_.owner(value); }
  void owner_or_nil(const std::optional<merge::FileOwner>& value) { writer_.owner_or_nil(value); }
  template <class T, class Each>
  void list(std::string_view, std::size_t, const std::vector<T>& values, Each each) {
    writer_.list(values.size());
    for (const T& value : values) each(*this, value);
  }
  template <class T>
  void list(std::string_view what, std::size_t least, const std::vector<T>& values) {
    list(what, least, values, [](FieldWriter& a, const T& value) { fields(a, value); });
  }

  MessageWriter& raw() { return writer_; }

 private:
  MessageWriter writer_;
};

class FieldReader {
 public:
  template <class T>
  using Of = T&;

  FieldReader(std::string_view message, std::span<const std::byte> bytes)
      : reader_(message, bytes) {}

  void tuple(std::string_view what, uint32_t count) { reader_.tuple(what, count); }
  template <class T>
  void number(std::string_view what, T& value, uint64_t least = 0,
              uint64_t most = std::numeric_limits<T>::max()) {
    value = static_cast<T>(reader_.number(what, least, most));
  }
  void size(std::string_view what, uint64_t& value) { value = reader_.number(what, 0, kMaxLength); }
  void clock_number(std::string_view what, uint64_t& value) { value = reader_.clock_number(what); }
  void boolean(std::string_view what, bool& value) { value = reader_.boolean(what); }
  void boolean_or_nil(std::string_view what, std::optional<bool>& value) {
    value.reset();
    if (!reader_.nil()) value = reader_.boolean(what);
  }
  void text(std::string_view what, std::string& value, std::size_t max_bytes) {
    value = reader_.text(what, max_bytes);
  }
  void app(merge::AppId& value) { value = reader_.app(); }
  void node(std::string_view what, merge::NodeName& value) { value = reader_.node(what); }
  void shuffle_key(merge::ShuffleKey& value) { value = reader_.shuffle_key(); }
  void shuffle_or_nil(std::optional<merge::ShuffleId>& value) {
    value.reset();
    if (!reader_.nil()) value = reader_.shuffle();
  }
  void map(merge::MapId& value) { value = reader_.map(); }
  void partition(std::string_view what, merge::PartitionId& value) {
    value = reader_.partition(what);
  }
  void commit_id(merge::CommitId& value) {
    value.commit = reader_.clock_number("commit");
    value.origin = merge::NodeTag{reader_.number("origin", 0, UINT64_MAX)};
  }
  void owner(merge::FileOwner& value) { value = reader_.owner(); }
  void owner_or_nil(std::optional<merge::FileOwner>& value) { value = reader_.owner_or_nil(); }
  // `least`: the fewest bytes that an element takes.
  template <class T, class Each>
  void list(std::string_view what, std::size_t least, std::vector<T>& values, Each each) {
    const std::size_t count = reader_.list(what, least);
    values.clear();
    values.reserve(count);
    for (std::size_t i = 0; i < count && !reader_.failed(); ++i) each(*this, values.emplace_back());
  }
  template <class T>
  void list(std::string_view what, std::size_t least, std::vector<T>& values) {
    list(what, least, values, [](FieldReader& a, T& value) { fields(a, value); });
  }

  MessageReader& raw() { return reader_; }

 private:
  MessageReader reader_;
};

// Of an announcement and of an answer.
template <class A>
void fields(A& a, typename A::template Of<merge::EndedMaps::Ended> ended) {
  a.tuple("ended commit", 2);
  a.map(ended.map);
  a.clock_number("commit", ended.commit);
}

inline constexpr std::size_t kLeastEndedBytes = 3;

template <class A>
void fields(A& a, typename A::template Of<merge::CommitRange> range) {
  a.tuple("ended range", 2);
  a.clock_number("first", range.first);
  a.clock_number("last", range.last);
}

inline constexpr std::size_t kLeastEndedRangeBytes = 3;

template <class T>
Bytes write_fields(const T& value) {
  FieldWriter writer;
  fields(writer, value);
  return writer.raw().take();
}

template <class T>
Result<T> read_fields(std::string_view message, std::span<const std::byte> header) {
  FieldReader reader(message, header);
  T value{};
  fields(reader, value);
  return reader.raw().finish(std::move(value));
}

}  // namespace shufflefs::net
