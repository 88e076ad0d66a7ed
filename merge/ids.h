// The names of things: application, shuffle, map output, partition, node. Strong types, parsed once
// where text comes in (path, wire, option, attribute); what has been parsed is safe to be a path
// component.
//
// Numbers have one spelling (no sign, no leading zero). Bounds follow Spark: shuffle and partition
// are int32, a map id is the int64 task attempt id . Errors: kInvalidArgument with the text
// and the rule.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shufflefs::merge {

// 1 to 200 characters of [A-Za-z0-9._-], not starting with a dot or a dash.
class AppId {
 public:
  AppId() = default;
  [[nodiscard]] static Result<AppId> parse(std::string_view text);
  [[nodiscard]] const std::string& str() const { return text_; }
  friend auto operator<=>(const AppId&, const AppId&) = default;

 private:
  explicit AppId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// The same alphabet as AppId, 1 to 100 characters.
class NodeName {
 public:
  NodeName() = default;
  [[nodiscard]] static Result<NodeName> parse(std::string_view text);
  [[nodiscard]] const std::string& str() const { return text_; }
  friend auto operator<=>(const NodeName&, const NodeName&) = default;

 private:
  explicit NodeName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

enum class ShuffleId : uint32_t {};
enum class PartitionId : uint32_t {};
enum class MapId : uint64_t {};

inline constexpr uint32_t kMaxShuffleId = 0x7FFFFFFF;
inline constexpr uint64_t kMaxMapId = 0x7FFFFFFFFFFFFFFF;
// A partition number is below this; it bounds what an index or a peer may make us allocate (128 MiB
// of offsets).
inline constexpr uint32_t kMaxPartitions = 1U << 24U;

[[nodiscard]] Result<ShuffleId> parse_shuffle_id(std::string_view text);
[[nodiscard]] Result<PartitionId> parse_partition_id(std::string_view text);
[[nodiscard]] Result<MapId> parse_map_id(std::string_view text);

[[nodiscard]] constexpr uint32_t number(ShuffleId id) { return static_cast<uint32_t>(id); }
[[nodiscard]] constexpr uint32_t number(PartitionId id) { return static_cast<uint32_t>(id); }
[[nodiscard]] constexpr uint64_t number(MapId id) { return static_cast<uint64_t>(id); }

// Spark's shuffle and map ids start at 0 in every application: the application is always part of
// the key.
struct ShuffleKey {
  AppId app;
  ShuffleId shuffle{};
  friend auto operator<=>(const ShuffleKey&, const ShuffleKey&) = default;
};

[[nodiscard]] Result<ShuffleKey> parse_shuffle_key(std::string_view text);  // "<app>/<shuffle>"
[[nodiscard]] std::string to_string(const ShuffleKey& key);                 // "<app>/<shuffle>"

}  // namespace shufflefs::merge

template <>
struct std::hash<shufflefs::merge::ShuffleKey> {
  std::size_t operator()(const shufflefs::merge::ShuffleKey& key) const noexcept {
    return std::hash<std::string>{}(key.app.str()) * 31 + shufflefs::merge::number(key.shuffle);
  }
};
