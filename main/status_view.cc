#include "main/status_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "main/json_read.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
using namespace json_read;  // NOLINT(google-build-using-namespace)

}  // namespace

std::string to_string(const UnreachableView& node) {
  if (node.reason.starts_with(node.node)) return node.reason;
  return fmt::format("{} ({})", node.node, node.reason);
}

std::string to_string(const DifferenceView& difference) {
  std::vector<std::string> parts;
  if (!difference.missing_there.empty())
    parts.push_back(fmt::format("{} does not know {}", difference.node,
                                fmt::join(difference.missing_there, ", ")));
  if (!difference.missing_here.empty())
    parts.push_back(fmt::format("this node does not know {}, which {} knows",
                                fmt::join(difference.missing_here, ", "), difference.node));
  return fmt::format("{}", fmt::join(parts, "; "));
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
  view.maps_lost = number(value, "maps_lost");
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
  view.refused_commits = texts(value, "refused_commits");
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
  const json::value& members = member(value, "members");
  view.members = number(members, "count");
  view.differences = list(members, "differences", [](const json::value& item) {
    return DifferenceView{text(item, "node"), texts(item, "missing_here"),
                          texts(item, "missing_there")};
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
