#include "merge/ids.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/parse.h"

namespace shufflefs::merge {
namespace {

bool is_safe_name(std::string_view text, std::size_t longest) {
  if (text.empty() || text.size() > longest || text.front() == '.' || text.front() == '-')
    return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
  });
}

Error bad_name(std::string_view what, std::string_view text, std::size_t longest) {
  return make_error(
      Code::kInvalidArgument,
      fmt::format("'{}' is not {}: use 1 to {} of A-Z a-z 0-9 . _ -, not starting with . or -",
                  text.substr(0, 80), what, longest));
}

Result<uint64_t> parse_number(std::string_view what, std::string_view text, uint64_t max) {
  const auto value = parse_decimal(text, max);
  if (!value) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("'{}' is not {}: write a plain number from 0 to {}",
                                  text.substr(0, 80), what, max));
  }
  return *value;
}

}  // namespace

Result<AppId> AppId::parse(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  if (!is_safe_name(text, kLongest)) return bad_name("an application id", text, kLongest);
  return AppId(std::string(text));
}

Result<NodeName> NodeName::parse(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  if (!is_safe_name(text, kLongest)) return bad_name("a node name", text, kLongest);
  return NodeName(std::string(text));
}

Result<ShuffleId> parse_shuffle_id(std::string_view text) {
  TRY_ASSIGN(const uint64_t value, parse_number("a shuffle number", text, kMaxShuffleId));
  return static_cast<ShuffleId>(value);
}

Result<PartitionId> parse_partition_id(std::string_view text) {
  TRY_ASSIGN(const uint64_t value, parse_number("a partition number", text, kMaxPartitions - 1));
  return static_cast<PartitionId>(value);
}

Result<MapId> parse_map_id(std::string_view text) {
  TRY_ASSIGN(const uint64_t value, parse_number("a map id", text, kMaxMapId));
  return static_cast<MapId>(value);
}

Result<ShuffleKey> parse_shuffle_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return make_error(
        Code::kInvalidArgument,
        fmt::format("'{}' does not name a shuffle: write <app>/<shuffle>, for example wordcount/0",
                    text));
  }
  TRY_ASSIGN(AppId app, AppId::parse(text.substr(0, slash)));
  TRY_ASSIGN(const ShuffleId shuffle, parse_shuffle_id(text.substr(slash + 1)));
  return ShuffleKey{std::move(app), shuffle};
}

std::string to_string(const ShuffleKey& key) {
  return fmt::format("{}/{}", key.app.str(), number(key.shuffle));
}

}  // namespace shufflefs::merge
