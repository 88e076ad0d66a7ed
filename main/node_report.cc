#include "main/node_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/escape.h"
#include "base/flag_guard.h"
#include "base/parse.h"
#include "base/recent_events.h"
#include "main/node_metrics.h"
#include "main/version.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

json::object numbers(const merge::ShuffleKey& shuffle, const merge::ShuffleInfo& info) {
  return json::object{{"app", shuffle.app.str()},
                      {"shuffle", merge::number(shuffle.shuffle)},
                      {"partitions", info.partition_count},
                      {"maps", info.maps},
                      {"maps_settled", info.maps_settled},
                      {"maps_given_up", info.maps_given_up},
                      {"maps_unpushed", info.maps_unpushed},
                      {"maps_lost", info.maps_lost},
                      {"bytes", info.bytes},
                      {"blocks_left_home", info.blocks_left_home},
                      {"bytes_left_home", info.bytes_left_home},
                      {"merged_partitions", info.merged_partitions},
                      {"merged_blocks", info.merged_blocks},
                      {"merged_bytes", info.merged_bytes},
                      {"duplicate_blocks", info.duplicate_blocks}};
}

}  // namespace

json::object given_up_json(const merge::GivenUp& entry) {
  return {{"reason", entry.reason},
          {"chunks", entry.chunks},
          {"blocks", entry.blocks},
          {"bytes", entry.bytes}};
}

json::value shuffle_json(const merge::ShuffleTotals& totals) {
  json::object shuffle = numbers(totals.shuffle, totals.sum);
  json::array given_up;
  for (const auto& [node, entry] : totals.given_up) {
    json::object item = given_up_json(entry);
    item["node"] = node.str();
    given_up.push_back(std::move(item));
  }
  json::array unreachable;
  for (const merge::UnreachableNode& node : totals.unreachable)
    unreachable.push_back({{"node", node.node.str()}, {"reason", node.reason}});
  shuffle["given_up"] = std::move(given_up);
  shuffle["refused_commits"] =
      json::array(totals.refused_commits.begin(), totals.refused_commits.end());
  shuffle["unreachable"] = std::move(unreachable);
  return shuffle;
}

json::value shuffle_json(const merge::ShuffleKey& key, const merge::ShuffleInfo& info) {
  json::object shuffle = numbers(key, info);
  json::array given_up;
  for (const merge::GivenUp& entry : info.given_up) given_up.push_back(given_up_json(entry));
  shuffle["given_up"] = std::move(given_up);
  shuffle["refused_commits"] =
      json::array(info.refused_commits.begin(), info.refused_commits.end());
  return shuffle;
}

json::value members_json(const merge::Cluster& cluster) {
  const auto texts = [](const std::vector<merge::NodeName>& names) {
    json::array list;
    for (const merge::NodeName& name : names) list.push_back(json::string(name.str()));
    return list;
  };
  json::array differences;
  for (const merge::ViewDifference& difference : cluster.differences()) {
    differences.push_back({{"node", difference.node.str()},
                           {"missing_here", texts(difference.missing_here)},
                           {"missing_there", texts(difference.missing_there)}});
  }
  return json::object{{"count", cluster.names().size()}, {"differences", std::move(differences)}};
}

json::value peer_json(const merge::PeerHealth& peer) {
  return json::object{{"name", peer.name.str()}, {"address", peer.address},
                      {"self", peer.self},       {"up", peer.up},
                      {"reason", peer.reason},   {"round_trip_ms", peer.round_trip_ms}};
}

json::value event_json(const RecentEvent& event, std::size_t most_bytes) {
  json::object fields;
  for (const auto& [name, value] : event.fields) fields[name] = text_prefix(value, most_bytes);
  const auto since_1970 = event.time.time_since_epoch();
  return json::object{
      {"number", event.number},
      {"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count()},
      {"level", to_string(event.level)},
      {"code", event.code},
      {"fields", std::move(fields)}};
}

json::value spark_json(const net::ess::EssStatus& status) {
  return json::object{{"listen", status.listen},
                      {"authentication", status.authenticates},
                      {"connections", status.connections},
                      {"streams", status.streams},
                      {"applications", status.applications},
                      {"executors", status.executors},
                      {"open_outputs", status.open_outputs},
                      {"request_bytes", status.request_bytes}};
}

namespace {

constexpr std::size_t kEventTextBytes = 200;

// Leaves out what is most until the text fits.
std::string shortened(json::object report) {
  std::string text = json_text(report);
  while (text.size() > merge::kMaxReportBytes) {
    json::array& shuffles = report["shuffles"].as_array();
    report["events"].as_array().clear();
    const std::size_t kept = shuffles.size() / 2;
    report["shuffles_left_out"] =
        report["shuffles_left_out"].to_number<uint64_t>() + shuffles.size() - kept;
    shuffles.resize(kept);
    text = json_text(report);
    if (kept == 0) break;
  }
  return text;
}

json::array numbers(const std::vector<uint64_t>& list) {
  return json::array(list.begin(), list.end());
}

}  // namespace

NodeReport::NodeReport(Parts parts)
    : parts_(parts),
      peer_metrics_(parts.metrics),
      start_(parts.runtime.now()),
      gate_(parts.runtime, "node_report") {}

json::object NodeReport::identity() const {
  const auto up = parts_.runtime.now() - start_;
  return json::object{{"node", parts_.settings.node.str()},
                      {"version", kVersion},
                      {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(up).count()},
                      {"workers_started", parts_.workers},
                      {"mount", parts_.settings.mount},
                      {"local_mode", to_string(parts_.local.mode())},
                      {"local_mode_reason", parts_.local.reason()}};
}

json::array NodeReport::disks() const {
  json::array list;
  for (const DataDisk& disk : parts_.disks.last()) {
    list.push_back({{"name", disk.name},
                    {"path", disk.path},
                    {"total_bytes", disk.total_bytes},
                    {"free_bytes", disk.free_bytes},
                    {"reason", disk.reason}});
  }
  return list;
}

json::value NodeReport::spark() const { return spark_ ? spark_json(spark_()) : json::value(); }

json::object NodeReport::counts() const {
  const auto value = [this](const char* name) { return parts_.metrics.value(name); };
  return json::object{{"passthrough_opens", value("shufflefs_passthrough_opens_total")},
                      {"ordinary_opens", value("shufflefs_ordinary_opens_total")},
                      {"passthrough_refused", value("shufflefs_passthrough_refused_total")},
                      {"commits", value("shufflefs_commits_total")},
                      {"commits_refused", value("shufflefs_commits_refused_total")},
                      {"pushed_blocks", value("shufflefs_push_blocks_total")},
                      {"pushed_bytes", value("shufflefs_push_bytes_total")},
                      {"push_retries", value("shufflefs_push_retries_total")},
                      {"push_given_up_chunks", value("shufflefs_push_given_up_chunks_total")},
                      {"merged_blocks", value("shufflefs_merge_blocks_total")},
                      {"merged_bytes", value("shufflefs_merge_bytes_total")},
                      {"read_merged_bytes", value("shufflefs_read_merged_bytes_total")},
                      {"read_origin_bytes", value("shufflefs_read_origin_bytes_total")},
                      {"read_fallback_blocks", value("shufflefs_read_fallback_blocks_total")},
                      {"spark_chunks", value("shufflefs_spark_chunks_total")},
                      {"spark_chunk_bytes", value("shufflefs_spark_chunk_bytes_total")}};
}

json::array NodeReport::traffic() const {
  std::map<std::string, std::pair<uint64_t, uint64_t>> by_peer;
  for (const auto& [peer, counter] : peer_metrics_.pushed_bytes.all())
    by_peer[peer].first = counter->value();
  for (const auto& [peer, counter] : peer_metrics_.fetched_bytes.all())
    by_peer[peer].second = counter->value();
  json::array list;
  for (const auto& [peer, bytes] : by_peer) {
    list.push_back(
        {{"peer", peer}, {"pushed_bytes", bytes.first}, {"fetched_bytes", bytes.second}});
  }
  return list;
}

Task<void> NodeReport::look() {
  // Also after an exception: else nobody would look again.
  const FlagGuard looking(looking_);
  co_await parts_.disks.refresh();
  mounted_ = co_await parts_.probe.check();
  json::array shuffles;
  std::vector<merge::ShuffleKey> keys = parts_.engine.known_shuffles();
  // Spark's application ids carry the time: the newest are last.
  std::ranges::reverse(keys);
  for (const merge::ShuffleKey& key : keys) {
    if (shuffles.size() == kMostShuffles) break;
    const auto info = co_await parts_.engine.local_node()->shuffle_info(key);
    if (!info && info.error().code == Code::kTimeout) co_return;  // the former stand
    if (info) shuffles.push_back(shuffle_json(key, *info));
  }
  shuffles_ = std::move(shuffles);
  shuffles_left_out_ = keys.size() - std::min(keys.size(), kMostShuffles);
  looked_at_ = parts_.runtime.now();
}

Task<json::object> NodeReport::node() {
  // Less than what the asking node waits for an answer.
  constexpr auto kPatience = std::chrono::seconds(2);
  constexpr auto kLookTimeout = std::chrono::milliseconds(2);
  constexpr auto kMaxAge = std::chrono::seconds(1);
  if (!looking_ && !(looked_at_ && parts_.runtime.now() - *looked_at_ < kMaxAge)) {
    looking_ = true;
    gate_.spawn(look());
  }
  const TimePoint deadline = parts_.runtime.now() + kPatience;
  while (looking_ && parts_.runtime.now() < deadline)
    co_await sleep_for(parts_.runtime, kLookTimeout);
  json::object report = identity();
  report["current"] = !looking_;
  const bool is_ready = mounted_.has_value() && parts_.probe.last_was_good();
  report["ready"] = is_ready;
  report["ready_reason"] = is_ready    ? std::string()
                           : !mounted_ ? mounted_.error().message
                                       : "a stat and a read through the mount do not come back";
  report["disks"] = disks();
  report["memory"] = {{"budget_bytes", parts_.settings.memory_bytes},
                      {"used_bytes", used_bytes()},
                      {"resident_bytes", resident_bytes()}};
  report["counts"] = counts();
  report["traffic"] = traffic();
  json::array peers;
  for (const merge::PeerHealth& peer : parts_.cluster.health()) peers.push_back(peer_json(peer));
  report["peers"] = std::move(peers);
  report["spark"] = spark();
  report["shuffles_left_out"] = shuffles_left_out_;
  report["shuffles"] = shuffles_;
  json::array events;
  for (const RecentEvent& event : recent_events().last(kMostEvents))
    events.push_back(event_json(event, kEventTextBytes));
  report["events"] = std::move(events);
  co_return report;
}

Task<Result<std::string>> NodeReport::sizes(std::string about) {
  const auto words = split(about, ' ');
  const Error bad =
      make_error(Code::kInvalidArgument,
                 fmt::format("'{}' is no question for the sizes of partitions", about));
  if (words.size() != 5) co_return bad;
  const auto key = merge::parse_shuffle_key(words[1]);
  const auto first = parse_decimal(words[2], merge::kMaxPartitions);
  const auto cells = parse_decimal(words[3], merge::PartitionSizesQuestion::kMostCells);
  const auto width = parse_decimal(words[4], merge::kMaxPartitions);
  if (!key || !first || !cells || !width || *width == 0) co_return bad;
  const merge::PartitionSizes sizes = co_await parts_.engine.partition_sizes(
      {*key, static_cast<uint32_t>(*first), static_cast<uint32_t>(*cells),
       static_cast<uint32_t>(*width)});
  co_return json_text(json::object{{"committed_bytes", numbers(sizes.committed_bytes)},
                                   {"merged_bytes", numbers(sizes.merged_bytes)},
                                   {"maps", sizes.maps},
                                   {"maps_counted", sizes.maps_counted}});
}

Task<Result<std::string>> NodeReport::answer(std::string about) {
  if (about == "node") co_return shortened(co_await node());
  if (about.starts_with("sizes ")) co_return co_await sizes(std::move(about));
  co_return make_error(Code::kInvalidArgument,
                       fmt::format("this node has no report about '{}'", about));
}

}  // namespace shufflefs
