#include "main/status_view.h"

#include <fmt/format.h>

namespace shufflefs {
namespace {

namespace json = boost::json;

// A member of an object; null for what is not there.
const json::value& member(const json::value& value, std::string_view name) {
  static const json::value nothing;
  const auto* const object = value.if_object();
  const auto* const found = object == nullptr ? nullptr : object->if_contains(name);
  return found == nullptr ? nothing : *found;
}

std::string text(const json::value& value, std::string_view name) {
  const auto* const found = member(value, name).if_string();
  return found == nullptr ? std::string() : std::string(*found);
}

double real(const json::value& value, std::string_view name) {
  boost::system::error_code error;
  const auto number = member(value, name).to_number<double>(error);
  return error ? 0.0 : number;
}

uint64_t number(const json::value& value, std::string_view name) {
  boost::system::error_code error;
  const auto number = member(value, name).to_number<uint64_t>(error);
  return error ? 0 : number;
}

bool flag(const json::value& value, std::string_view name) {
  const auto* const found = member(value, name).if_bool();
  return found != nullptr && *found;
}

template <class Read>
auto list(const json::value& value, std::string_view name, Read read) {
  std::vector<decltype(read(value))> items;
  if (const auto* const array = member(value, name).if_array()) {
    for (const json::value& item : *array) items.push_back(read(item));
  }
  return items;
}

}  // namespace

std::string to_string(const UnreachableView& node) {
  if (node.reason.starts_with(node.node)) return node.reason;
  return fmt::format("{} ({})", node.node, node.reason);
}

ShuffleView shuffle_view(const json::value& value) {
  ShuffleView view;
  view.app = text(value, "app");
  view.shuffle = number(value, "shuffle");
  view.partitions = number(value, "partitions");
  view.maps = number(value, "maps");
  view.maps_settled = number(value, "maps_settled");
  view.maps_given_up = number(value, "maps_given_up");
  view.maps_unpushed = number(value, "maps_unpushed");
  view.bytes = number(value, "bytes");
  view.blocks_left_home = number(value, "blocks_left_home");
  view.bytes_left_home = number(value, "bytes_left_home");
  view.merged_partitions = number(value, "merged_partitions");
  view.merged_blocks = number(value, "merged_blocks");
  view.merged_bytes = number(value, "merged_bytes");
  view.duplicate_blocks = number(value, "duplicate_blocks");
  view.given_up = list(value, "given_up", [](const json::value& item) {
    return GivenUpView{text(item, "node"), text(item, "reason"), number(item, "chunks"),
                       number(item, "blocks"), number(item, "bytes")};
  });
  view.refused_commits = list(value, "refused_commits", [](const json::value& item) {
    return item.is_string() ? std::string(item.get_string()) : std::string();
  });
  view.unreachable = list(value, "unreachable", [](const json::value& item) {
    return UnreachableView{text(item, "node"), text(item, "reason")};
  });
  return view;
}

StatusView status_view(const json::value& value) {
  StatusView view;
  view.node = text(value, "node");
  view.version = text(value, "version");
  view.mount = text(value, "mount");
  view.uptime_s = real(value, "uptime_s");
  view.memory_budget_bytes = number(member(value, "memory"), "budget_bytes");
  view.memory_used_bytes = number(member(value, "memory"), "used_bytes");
  view.disks = list(value, "disks", [](const json::value& item) {
    return DiskView{text(item, "name"), text(item, "path"), number(item, "total_bytes"),
                    number(item, "free_bytes")};
  });
  view.peers = list(value, "peers", [](const json::value& item) {
    return PeerView{text(item, "name"), text(item, "address"), flag(item, "self"),
                    flag(item, "up"),   text(item, "reason"),  real(item, "round_trip_ms")};
  });
  const json::value& spark = member(value, "spark");
  view.spark = {text(spark, "listen"),         flag(spark, "authentication"),
                number(spark, "connections"),  number(spark, "streams"),
                number(spark, "applications"), number(spark, "executors")};
  view.shuffles =
      list(value, "shuffles", [](const json::value& item) { return shuffle_view(item); });
  return view;
}

}  // namespace shufflefs
