#include "main/cluster_view.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <map>
#include <tuple>

#include "base/escape.h"
#include "base/flag_guard.h"
#include "main/node_report.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr auto kSummed = {
    "maps",         "maps_settled",     "maps_given_up",   "maps_unpushed",     "maps_lost",
    "bytes",        "blocks_left_home", "bytes_left_home", "merged_partitions", "merged_blocks",
    "merged_bytes", "duplicate_blocks"};

uint64_t number_of(const json::object& object, std::string_view name) {
  const auto* const value = object.if_contains(name);
  boost::system::error_code error;
  const auto number = value == nullptr ? 0 : value->to_number<uint64_t>(error);
  return error ? 0 : number;
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* const value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

// Takes a list out of a report: what is summed up for the cluster is not repeated for the node.
json::array take_list(json::object& report, std::string_view name) {
  auto* const value = report.if_contains(name);
  if (value == nullptr || !value->is_array()) return {};
  json::array list = std::move(value->get_array());
  report.erase(name);
  return list;
}

class Shuffles {
 public:
  void add(const std::string& node, const json::value& item) {
    if (!item.is_object()) return;
    const json::object& part = item.get_object();
    json::object& sum = sums_[{text_of(part, "app"), number_of(part, "shuffle")}];
    if (sum.empty()) {
      sum["app"] = text_of(part, "app");
      sum["shuffle"] = number_of(part, "shuffle");
      sum["given_up"] = json::array();
      sum["refused_commits"] = json::array();
    }
    sum["partitions"] = std::max(number_of(sum, "partitions"), number_of(part, "partitions"));
    for (const char* const name : kSummed) sum[name] = number_of(sum, name) + number_of(part, name);
    if (const auto* given_up = part.if_contains("given_up"); given_up && given_up->is_array()) {
      for (const json::value& entry : given_up->get_array()) {
        if (!entry.is_object()) continue;
        json::object named = entry.get_object();
        named["node"] = node;
        sum["given_up"].get_array().push_back(std::move(named));
      }
    }
    if (const auto* refused = part.if_contains("refused_commits"); refused && refused->is_array()) {
      for (const json::value& text : refused->get_array())
        if (text.is_string())
          sum["refused_commits"].get_array().push_back(
              json::string(node + ": " + std::string(text.get_string())));
    }
  }

  // Those that are being pushed first, then the newest names.
  [[nodiscard]] json::array list(std::size_t most, std::size_t& left_out) const {
    std::vector<json::object> sorted;
    for (const bool wanted : {true, false}) {
      for (auto it = sums_.rbegin(); it != sums_.rend(); ++it) {
        const json::object& sum = it->second;
        const uint64_t ended = number_of(sum, "maps_settled") + number_of(sum, "maps_given_up") +
                               number_of(sum, "maps_unpushed");
        const bool pushing = ended < number_of(sum, "maps");
        if (pushing != wanted) continue;
        sorted.push_back(sum);
        sorted.back()["pushing"] = pushing;
      }
    }
    left_out = sorted.size() - std::min(sorted.size(), most);
    sorted.resize(sorted.size() - left_out);
    return json::array(sorted.begin(), sorted.end());
  }

 private:
  std::map<std::pair<std::string, uint64_t>, json::object> sums_;
};

json::array newest_events(std::vector<json::object> events) {
  // Of the same moment and number are only events of different nodes.
  std::ranges::sort(events, std::ranges::greater(), [](const json::object& event) {
    return std::tuple(number_of(event, "time_ms"), number_of(event, "number"),
                      text_of(event, "node"));
  });
  if (events.size() > ClusterView::kMostEvents) events.resize(ClusterView::kMostEvents);
  return json::array(events.begin(), events.end());
}

}  // namespace

json::object cluster_json(
    const merge::NodeName& self, const std::vector<merge::PeerHealth>& members,
    const std::vector<std::pair<merge::NodeName, Result<std::string>>>& reports) {
  Shuffles shuffles;
  std::vector<json::object> events;
  uint64_t left_out = 0;
  json::array nodes;
  for (const merge::PeerHealth& member : members) {
    json::object node = peer_json(member).as_object();
    node["report"] = nullptr;
    node["report_reason"] = "";
    const auto found = std::ranges::find_if(
        reports, [&](const auto& report) { return report.first == member.name; });
    if (found == reports.end()) {
      node["report_reason"] = "it was not asked";
    } else if (!found->second) {
      node["report_reason"] = found->second.error().message;
    } else {
      boost::system::error_code error;
      json::value parsed = json::parse(*found->second, error);
      if (error || !parsed.is_object()) {
        node["report_reason"] = "its report cannot be read: is it of another version?";
      } else {
        json::object& report = parsed.get_object();
        for (const json::value& shuffle : take_list(report, "shuffles"))
          shuffles.add(member.name.str(), shuffle);
        left_out += number_of(report, "shuffles_left_out");
        for (json::value& event : take_list(report, "events")) {
          if (!event.is_object()) continue;
          event.get_object()["node"] = member.name.str();
          events.push_back(std::move(event.get_object()));
        }
        node["report"] = std::move(report);
      }
    }
    nodes.push_back(std::move(node));
  }
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  std::size_t not_listed = 0;
  json::array listed = shuffles.list(ClusterView::kMostShuffles, not_listed);
  return json::object{
      {"node", self.str()},
      {"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count()},
      {"nodes", std::move(nodes)},
      {"shuffles", std::move(listed)},
      {"shuffles_left_out", left_out + not_listed},
      {"events", newest_events(std::move(events))}};
}

Task<ClusterView::Reports> ClusterView::ask() {
  if (cluster_.names().size() <= kMostNodes) co_return co_await engine_.catalog().reports("node");
  Reports own;
  own.emplace_back(cluster_.self(), co_await report_.answer("node"));
  co_return own;
}

Task<std::string> ClusterView::text() {
  constexpr auto kLook = std::chrono::milliseconds(5);
  // Whoever comes while it is being asked gets the same answer.
  while (asking_) co_await sleep_for(runtime_, kLook);
  if (last_ && runtime_.now() - asked_at_ < kFresh) co_return *last_;
  const FlagGuard asking(asking_);  // also when the HTTP deadline cancels us
  const Reports reports = co_await ask();
  last_ = json_text(cluster_json(cluster_.self(), cluster_.health(), reports)) + "\n";
  asked_at_ = runtime_.now();
  co_return *last_;
}

}  // namespace shufflefs
