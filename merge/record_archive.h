// Archives for what this node saves for itself: one fields() for writing and reading calls the
// archive with each field in order. A number is a variable-length integer (7 bits a byte, low
// first), a text its length and bytes.
//
// The reader refuses whatever the writer does not write (is_whole()), and allocates no more than a
// small multiple of its input. Threads: one object, one thread. Include in the .cc of a format.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "merge/ids.h"

namespace shufflefs::merge {

class RecordWriter {
 public:
  void number(uint64_t& value) {
    uint64_t left = value;
    for (; left >= 0x80; left >>= 7U) bytes_.push_back(static_cast<std::byte>(left | 0x80U));
    bytes_.push_back(static_cast<std::byte>(left));
  }
  void text(std::string& value) {
    uint64_t size = value.size();
    number(size);
    const auto* from = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), from, from + value.size());
  }
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t /*min_bytes*/, Each each) {
    uint64_t size = values.size();
    number(size);
    for (T& value : values) each(value);
  }
  void fail() {}
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class RecordReader {
 public:
  explicit RecordReader(std::span<const std::byte> bytes) : left_(bytes) {}
  void number(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return fail();
      const auto byte = std::to_integer<uint64_t>(left_.front());
      left_ = left_.subspan(1);
      if (shift == 63 && byte > 1) return fail();
      value |= (byte & 0x7FU) << shift;
      if (byte == 0 && shift > 0) return fail();  // longer than it need be
      if (byte < 0x80) return;
    }
    fail();
  }
  void text(std::string& value) {
    uint64_t size = 0;
    number(size);
    if (size > left_.size()) return fail();
    value.assign(reinterpret_cast<const char*>(left_.data()), size);
    left_ = left_.subspan(size);
  }
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t min_bytes, Each each) {
    uint64_t size = 0;
    number(size);
    if (size > left_.size() / min_bytes) return fail();
    values.resize(size);
    for (T& value : values) each(value);
  }
  void fail() {
    failed_ = true;
    left_ = {};
  }
  [[nodiscard]] bool is_whole() const { return !failed_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool failed_ = false;
};

template <class Archive, class T>
void integer(Archive& archive, T& value, uint64_t max = std::numeric_limits<T>::max()) {
  auto wide = static_cast<uint64_t>(value);
  archive.number(wide);
  if (wide > max) return archive.fail();
  value = static_cast<T>(wide);
}

template <class Archive>
void flag(Archive& archive, bool& value) {
  uint8_t byte = value ? 1 : 0;
  integer(archive, byte, 1);
  value = byte != 0;
}

template <class Archive>
void map_id(Archive& archive, MapId& map) {
  uint64_t value = number(map);
  integer(archive, value, kMaxMapId);
  map = static_cast<MapId>(value);
}

template <class Archive>
void node(Archive& archive, NodeName& name) {
  std::string text = name.str();
  archive.text(text);
  auto parsed = NodeName::parse(text);
  if (!parsed) return archive.fail();
  name = std::move(*parsed);
}

template <class Archive>
void app(Archive& archive, AppId& id) {
  std::string text = id.str();
  archive.text(text);
  auto parsed = AppId::parse(text);
  if (!parsed) return archive.fail();
  id = std::move(*parsed);
}

// Whether it is there, and what `each` calls the archive with.
template <class Archive, class T, class Each>
void optional(Archive& archive, std::optional<T>& value, Each each) {
  bool is_there = value.has_value();
  flag(archive, is_there);
  if (!is_there) return value.reset();
  if (!value) value.emplace();
  each(*value);
}

}  // namespace shufflefs::merge
