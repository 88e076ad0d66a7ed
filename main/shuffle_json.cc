#include "main/shuffle_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/escape.h"

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

json::object given_up_json(const merge::GivenUp& entry) {
  return {{"reason", entry.reason},
          {"chunks", entry.chunks},
          {"blocks", entry.blocks},
          {"bytes", entry.bytes}};
}

}  // namespace

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

}  // namespace shufflefs
