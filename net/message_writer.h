// Writes the fields of a header in msgpack, one after the other. The counterpart of MessageReader.
//
// Threads: one object, one thread. Failure: none but lack of memory. Cost: one growing vector.
#pragma once

#include <cstdint>
#include <msgpack/pack.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/escape.h"
#include "merge/app_owners.h"
#include "merge/ids.h"
#include "net/wire.h"

namespace shufflefs::net {

class MessageWriter {
 public:
  // A message or a nested record is an array of a fixed number of fields.
  void tuple(uint32_t fields) { packer_.pack_array(fields); }
  // REQUIRES: count fits 32 bits; `count` elements follow.
  void list(std::size_t count) { packer_.pack_array(static_cast<uint32_t>(count)); }
  void number(uint64_t value) { packer_.pack_uint64(value); }
  void boolean(bool value) { value ? packer_.pack_true() : packer_.pack_false(); }
  void nil() { packer_.pack_nil(); }
  // Of any bytes a text that everybody can show, cut at `max_bytes`, which the reader enforces: one
  // reason that is odd or long must not make the whole answer unreadable.
  void text(std::string_view value, std::size_t max_bytes) {
    std::string escaped;
    if (!is_printable(value)) value = escaped = printable(value);
    value = text_prefix(value, max_bytes);
    packer_.pack_str(static_cast<uint32_t>(value.size()));
    packer_.pack_str_body(value.data(), static_cast<uint32_t>(value.size()));
  }
  void binary(std::span<const std::byte> value) {
    packer_.pack_bin(static_cast<uint32_t>(value.size()));
    packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()),
                          static_cast<uint32_t>(value.size()));
  }

  void app(const merge::AppId& app) { text(app.str(), app.str().size()); }
  void node(const merge::NodeName& node) { text(node.str(), node.str().size()); }
  void shuffle_key(const merge::ShuffleKey& key) {
    app(key.app);
    number(merge::number(key.shuffle));
  }
  void owner(const merge::FileOwner& owner) {
    tuple(2);
    number(owner.uid);
    number(owner.gid);
  }
  void owner_or_nil(const std::optional<merge::FileOwner>& of) { of ? owner(*of) : nil(); }
  void map(merge::MapId map) { number(merge::number(map)); }
  void partition(merge::PartitionId partition) { number(merge::number(partition)); }

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

}  // namespace shufflefs::net
