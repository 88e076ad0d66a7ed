#include "main/api.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/escape.h"
#include "base/recent_events.h"
#include "main/config_value.h"
#include "main/http_access.h"
#include "main/node_metrics.h"
#include "main/page_files.h"
#include "main/partition_sizes_answer.h"
#include "main/shuffle_json.h"
#include "main/version.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr std::string_view kShuffles = "/api/v1/shuffles/";
constexpr std::string_view kPartitions = "/partitions";
// A status page of a node with thousands of shuffles is no use to anybody: the latest names win
// nothing, the first do.
constexpr std::size_t kMostShuffles = 200;

net::HttpAnswer only(std::string_view methods) {
  net::HttpAnswer answer =
      net::error_answer(405, "invalid_argument", fmt::format("use {}", methods));
  answer.headers.emplace_back("Allow", methods);
  return answer;
}

net::HttpAnswer not_served(const std::string& path) {
  return net::error_answer(404, "not_found", fmt::format("nothing is served at '{}'", path));
}

Task<net::HttpAnswer> constant(net::HttpAnswer answer) { co_return answer; }

}  // namespace

Api::Api(Parts parts)
    : parts_(parts),
      disks_(parts.runtime, parts.io, parts.settings.data),
      probe_(parts.runtime, parts.settings.mount),
      report_({parts.settings, parts.runtime, parts.engine, parts.cluster, parts.memory,
               parts.metrics, parts.workers, disks_, probe_}),
      cluster_view_(parts.runtime, parts.engine, parts.cluster, report_) {
  register_node_metrics(parts_.metrics,
                        {parts.engine, parts.cluster, parts.memory, parts.workers, disks_, probe_});
  parts_.engine.set_reporter(
      [this](std::string about) { return report_.answer(std::move(about)); });
}

Task<json::value> Api::status() {
  co_await disks_.refresh();
  json::array shuffles;
  for (const merge::ShuffleKey& key : co_await parts_.engine.catalog().shuffles()) {
    if (shuffles.size() == kMostShuffles) break;
    shuffles.push_back(shuffle_json(co_await parts_.engine.catalog().totals(key)));
  }
  json::array peers;
  for (const merge::PeerHealth& peer : parts_.cluster.health()) peers.push_back(peer_json(peer));
  json::object status = report_.identity();
  status["disks"] = report_.disks();
  status["memory"] = {{"budget_bytes", parts_.settings.memory_bytes},
                      {"used_bytes", report_.used_bytes()}};
  status["members"] = members_json(parts_.cluster);
  status["peers"] = std::move(peers);
  status["spark"] = report_.spark();
  status["shuffles"] = std::move(shuffles);
  co_return status;
}

Task<std::string> Api::status_text() { co_return json_text(co_await status()) + "\n"; }

// The numbers of disks and mount are those of now.
Task<std::string> Api::metrics_text() {
  co_await disks_.refresh();
  static_cast<void>(co_await probe_.check());
  co_return parts_.metrics.render();
}

Task<net::HttpAnswer> Api::answer_status() { co_return net::json_answer(co_await status()); }

Task<net::HttpAnswer> Api::answer_cluster() {
  net::HttpAnswer answer = net::text_answer(co_await cluster_view_.text());
  answer.content_type = "application/json";
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_events() {
  json::array events;
  for (const RecentEvent& event : recent_events().last())
    events.push_back(event_json(event, RecentEvents::kMostBytes));
  co_return net::json_answer(
      json::object{{"node", parts_.settings.node.str()}, {"events", std::move(events)}});
}

Task<net::HttpAnswer> Api::answer_metrics() {
  net::HttpAnswer answer = net::text_answer(co_await metrics_text());
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_ready() {
  const Status answers = co_await probe_.check();
  if (answers) co_return net::text_answer("ok\n");
  net::HttpAnswer answer = net::text_answer(printable(answers.error().message) + "\n");
  answer.status = 503;
  co_return answer;
}

Task<net::HttpAnswer> Api::drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle) {
  const Status dropped = co_await parts_.engine.catalog().drop(std::move(app), shuffle);
  if (!dropped) co_return net::error_answer(dropped.error());
  co_return net::json_answer(json::object{{"dropped", true}});
}

Task<net::HttpAnswer> Api::answer_shuffle(merge::ShuffleKey key) {
  const merge::ShuffleTotals totals = co_await parts_.engine.catalog().totals(key);
  if (!totals.known) {
    // Whoever waits wants to know that a silent node might know more.
    std::string who;
    for (const merge::UnreachableNode& node : totals.unreachable)
      who += fmt::format("; {} does not answer: {}", node.node.str(), node.reason);
    co_return net::error_answer(404, "not_found",
                                fmt::format("no node knows shuffle {}{}", to_string(key), who));
  }
  co_return net::json_answer(shuffle_json(totals));
}

Task<net::HttpAnswer> Api::answer_shuffles(net::HttpQuestion question) {
  std::string rest = question.path.substr(std::min(question.path.size(), kShuffles.size()));
  const bool is_get = question.method == net::HttpMethod::kGet;
  const bool is_delete = question.method == net::HttpMethod::kDelete;
  const bool of_partitions = rest.ends_with(kPartitions);
  if (of_partitions) rest.resize(rest.size() - kPartitions.size());
  if (is_delete && !of_partitions && rest.find('/') == std::string::npos) {
    const auto app = merge::AppId::parse(rest);
    if (!app) co_return net::error_answer(app.error());
    co_return co_await drop(*app, std::nullopt);
  }
  const auto key = merge::parse_shuffle_key(rest);
  if (!key) co_return net::error_answer(key.error());
  if (of_partitions) {
    if (!is_get) co_return only("GET");
    co_return co_await answer_partition_sizes(parts_.engine.catalog(), *key, question.query);
  }
  if (is_delete) co_return co_await drop(key->app, key->shuffle);
  if (!is_get) co_return only("GET, DELETE");
  co_return co_await answer_shuffle(*key);
}

void Api::add_get(net::AdminHttp& http, const std::string& path, Answer (Api::*answer)()) {
  // No coroutine: it only makes the member's task.
  http.add_route(path, [this, path, answer](const net::HttpQuestion& question) {
    if (question.path != path) return constant(not_served(question.path));
    if (question.method != net::HttpMethod::kGet) return constant(only("GET"));
    return (this->*answer)();
  });
}

Status Api::add_routes(net::AdminHttp& http) {
  TRY_ASSIGN(net::HttpAccess access, http_access(parts_.settings));
  add_get(http, "/api/v1/status", &Api::answer_status);
  add_get(http, "/api/v1/cluster", &Api::answer_cluster);
  add_get(http, "/api/v1/events", &Api::answer_events);
  add_get(http, "/metrics", &Api::answer_metrics);
  add_get(http, "/readyz", &Api::answer_ready);
  http.add_route("/api/v1/shuffles", [this](net::HttpQuestion question) {
    return answer_shuffles(std::move(question));
  });
  for (const std::string& path : add_page_routes(http)) access.open_paths.insert(path);
  // The page's "/" would take it.
  http.add_route("/healthz",
                 [](const net::HttpQuestion&) { return constant(net::text_answer("ok\n")); });
  access.open_paths.insert("/healthz");
  access.open_paths.insert("/readyz");
  http.set_guard([guard = net::HttpGuard(std::move(access))](const net::HttpQuestion& question) {
    return guard.refuse(question);
  });
  return ok();
}

namespace {

Task<std::string> constant_text(std::string text) { co_return text; }

}  // namespace

fs::InfoTexts Api::info_texts() {
  fs::InfoTexts texts;
  texts["node"] = [name = parts_.settings.node.str()] { return constant_text(name + "\n"); };
  texts["replicate"] = [all = parts_.settings.push.replicate == Replicate::kAll] {
    return constant_text(all ? "all\n" : "none\n");
  };
  texts["version"] = [] { return constant_text(std::string(kVersion) + "\n"); };
  texts["config"] = [text = settings_as_toml(parts_.settings)] { return constant_text(text); };
  texts["status.json"] = [this] { return status_text(); };
  texts["metrics"] = [this] { return metrics_text(); };
  return texts;
}

}  // namespace shufflefs
