#include "main/api.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "main/settings_text.h"
#include "main/version.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr std::string_view kShuffles = "/api/v1/shuffles/";
// A status page of a node with thousands of shuffles is no use to anybody: the latest names win
// nothing, the first do.
constexpr std::size_t kMostShuffles = 200;

json::value shuffle_json(const merge::ShuffleTotals& totals) {
  const merge::ShuffleInfo& sum = totals.sum;
  json::array given_up;
  for (const auto& [node, entry] : totals.given_up) {
    given_up.push_back({{"node", node.str()},
                        {"reason", entry.reason},
                        {"chunks", entry.chunks},
                        {"blocks", entry.blocks},
                        {"bytes", entry.bytes}});
  }
  json::array refused(totals.refused_commits.begin(), totals.refused_commits.end());
  json::array unreachable;
  for (const merge::UnreachableNode& node : totals.unreachable)
    unreachable.push_back({{"node", node.node.str()}, {"reason", node.reason}});
  return json::object{{"app", totals.shuffle.app.str()},
                      {"shuffle", number(totals.shuffle.shuffle)},
                      {"partitions", sum.partition_count},
                      {"maps", sum.maps},
                      {"maps_settled", sum.maps_settled},
                      {"maps_given_up", sum.maps_given_up},
                      {"maps_unpushed", sum.maps_unpushed},
                      {"bytes", sum.bytes},
                      {"blocks_left_home", sum.blocks_left_home},
                      {"bytes_left_home", sum.bytes_left_home},
                      {"merged_partitions", sum.merged_partitions},
                      {"merged_blocks", sum.merged_blocks},
                      {"merged_bytes", sum.merged_bytes},
                      {"duplicate_blocks", sum.duplicate_blocks},
                      {"given_up", std::move(given_up)},
                      {"refused_commits", std::move(refused)},
                      {"unreachable", std::move(unreachable)}};
}

json::array peers_json(const merge::Cluster& cluster) {
  json::array peers;
  for (const merge::PeerHealth& peer : cluster.health()) {
    peers.push_back({{"name", peer.name.str()},
                     {"address", peer.address},
                     {"self", peer.self},
                     {"up", peer.up},
                     {"reason", peer.reason},
                     {"round_trip_ms", peer.round_trip_ms}});
  }
  return peers;
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

uint64_t used_bytes(const Api::Parts& parts) { return parts.memory.used_bytes(); }

}  // namespace

Api::Api(Parts parts)
    : parts_(parts), start_(parts.runtime.now()), probe_(parts.runtime, parts.settings.mount) {
  parts_.metrics.gauge("shufflefs_memory_used_bytes", "Bytes of the memory budget that are leased.",
                       [&parts = parts_] { return static_cast<double>(used_bytes(parts)); });
  parts_.metrics.gauge("shufflefs_memory_budget_bytes", "The memory budget.", [&parts = parts_] {
    return static_cast<double>(parts.settings.memory_bytes);
  });
}

Task<json::value> Api::status() {
  const Settings& settings = parts_.settings;
  json::array disks = co_await offload(parts_.runtime, [this, &settings] {
    json::array list;
    for (std::size_t disk = 0; disk < settings.data.size(); ++disk) {
      const auto space = parts_.io.space(settings.data[disk]);
      list.push_back({{"name", fmt::format("disk{}", disk)},
                      {"path", settings.data[disk]},
                      {"total_bytes", space ? space->total_bytes : 0},
                      {"free_bytes", space ? space->free_bytes : 0}});
    }
    return list;
  });
  json::array shuffles;
  for (const merge::ShuffleKey& key : co_await parts_.engine.catalog().shuffles()) {
    if (shuffles.size() == kMostShuffles) break;
    shuffles.push_back(shuffle_json(co_await parts_.engine.catalog().totals(key)));
  }
  co_return json::object{
      {"node", settings.node.str()},
      {"version", kVersion},
      {"uptime_s",
       std::chrono::duration_cast<std::chrono::seconds>(parts_.runtime.now() - start_).count()},
      {"mount", settings.mount},
      {"disks", std::move(disks)},
      {"memory", {{"budget_bytes", settings.memory_bytes}, {"used_bytes", used_bytes(parts_)}}},
      {"peers", peers_json(parts_.cluster)},
      {"spark", spark_ ? spark_json(spark_()) : json::value(nullptr)},
      {"shuffles", std::move(shuffles)}};
}

Task<std::string> Api::status_text() { co_return json::serialize(co_await status()) + "\n"; }

Task<std::string> Api::metrics_text() const { co_return parts_.metrics.render(); }

Task<net::HttpAnswer> Api::answer_status(net::HttpQuestion question) {
  if (question.method != net::HttpMethod::kGet)
    co_return net::error_answer(405, "method", "use GET");
  co_return net::json_answer(co_await status());
}

Task<net::HttpAnswer> Api::answer_metrics(net::HttpQuestion /*question*/) {
  net::HttpAnswer answer = net::text_answer(co_await metrics_text());
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_health(net::HttpQuestion /*question*/) {
  const Status answers = co_await probe_.check();
  if (answers) co_return net::text_answer("ok\n");
  net::HttpAnswer answer = net::text_answer(answers.error().message + "\n");
  answer.status = 503;
  co_return answer;
}

Task<net::HttpAnswer> Api::drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle) {
  const Status dropped = co_await parts_.engine.catalog().drop(std::move(app), shuffle);
  if (!dropped) co_return net::error_answer(dropped.error());
  co_return net::json_answer(json::object{{"dropped", true}});
}

Task<net::HttpAnswer> Api::answer_shuffles(net::HttpQuestion question) {
  const std::string rest = question.path.substr(std::min(question.path.size(), kShuffles.size()));
  if (question.method == net::HttpMethod::kDelete && rest.find('/') == std::string::npos) {
    const auto app = merge::AppId::parse(rest);
    if (!app) co_return net::error_answer(app.error());
    co_return co_await drop(*app, std::nullopt);
  }
  const auto key = merge::parse_shuffle_key(rest);
  if (!key) co_return net::error_answer(key.error());
  if (question.method == net::HttpMethod::kDelete) co_return co_await drop(key->app, key->shuffle);
  if (question.method != net::HttpMethod::kGet)
    co_return net::error_answer(405, "method", "use GET or DELETE");
  const merge::ShuffleTotals totals = co_await parts_.engine.catalog().totals(*key);
  if (!totals.known) {
    // Whoever waits wants to know that a silent node might know more.
    std::string who;
    for (const merge::UnreachableNode& node : totals.unreachable)
      who += fmt::format("; {} does not answer: {}", node.node.str(), node.reason);
    co_return net::error_answer(404, "not_found",
                                fmt::format("no node knows shuffle {}{}", to_string(*key), who));
  }
  co_return net::json_answer(shuffle_json(totals));
}

void Api::add_routes(net::AdminHttp& http) {
  // The lambdas are no coroutines: they only make the member's task.
  http.add_route("/api/v1/status",
                 [this](net::HttpQuestion question) { return answer_status(std::move(question)); });
  http.add_route("/api/v1/shuffles", [this](net::HttpQuestion question) {
    return answer_shuffles(std::move(question));
  });
  http.add_route("/metrics", [this](net::HttpQuestion question) {
    return answer_metrics(std::move(question));
  });
  http.add_route("/healthz",
                 [this](net::HttpQuestion question) { return answer_health(std::move(question)); });
}

namespace {

Task<std::string> constant(std::string text) { co_return text; }

}  // namespace

fs::InfoTexts Api::info_texts() {
  fs::InfoTexts texts;
  texts["node"] = [name = parts_.settings.node.str()] { return constant(name + "\n"); };
  texts["version"] = [] { return constant(std::string(kVersion) + "\n"); };
  texts["config"] = [text = settings_as_toml(parts_.settings)] { return constant(text); };
  texts["status.json"] = [this] { return status_text(); };
  texts["metrics"] = [this] { return metrics_text(); };
  return texts;
}

}  // namespace shufflefs
