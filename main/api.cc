#include "main/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/escape.h"
#include "base/recent_events.h"
#include "main/api_shuffles.h"
#include "main/config.h"
#include "main/embedded_files.h"  // generated: main/embed.cmake
#include "main/version.h"
#include "net/ess/auth/server_auth.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr std::string_view kShuffles = "/api/v1/shuffles/";
constexpr std::string_view kMembers = "/api/v1/members/";
constexpr std::string_view kPartitions = "/partitions";
// A status page with thousands of shuffles is no use: the first ones are shown.
constexpr std::size_t kMaxShuffles = 200;

// They hold no data. The headers let a browser load nothing from anywhere else.
struct PageFile {
  std::string_view path;
  std::string_view content_type;
  std::string_view content;
};
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
constexpr auto kPageFiles = std::to_array<PageFile>({
    {"/", "text/html; charset=utf-8", embedded::kIndexHtml},
    {"/page.css", "text/css; charset=utf-8", embedded::kPageCss},
    {"/page.js", "text/javascript; charset=utf-8", embedded::kPageJs},
    {"/charts.js", "text/javascript; charset=utf-8", embedded::kChartsJs},
    {"/format.js", "text/javascript; charset=utf-8", embedded::kFormatJs},
    {"/icon.svg", "image/svg+xml", embedded::kIconSvg},
    {"/api/v1/openapi.yaml", "text/yaml; charset=utf-8", embedded::kOpenapiYaml},
});

std::string_view rest_of(const net::HttpQuestion& question, std::string_view prefix) {
  return std::string_view(question.path).substr(std::min(question.path.size(), prefix.size()));
}

json::value drain_json(const merge::DrainStatus& status) {
  json::array given_up;
  for (const merge::GivenUp& entry : status.given_up) given_up.push_back(given_up_json(entry));
  return json::object{{"draining", status.draining},
                      {"safe_to_stop", status.safe_to_stop},
                      {"map_outputs", status.map_outputs},
                      {"waiting", status.waiting},
                      {"maps_unpushed", status.maps_unpushed},
                      {"orphans_moved", status.orphans_moved},
                      {"blocks_left_home", status.blocks_left_home},
                      {"bytes_left_home", status.bytes_left_home},
                      {"given_up", std::move(given_up)}};
}

net::HttpAnswer not_served(const std::string& path) {
  return net::error_answer(404, "not_found", fmt::format("nothing is served at '{}'", path));
}

net::HttpAnswer only(std::string_view methods) {
  net::HttpAnswer answer =
      net::error_answer(405, "invalid_argument", fmt::format("use {}", methods));
  answer.headers.emplace_back("Allow", methods);
  return answer;
}

Task<net::HttpAnswer> constant(net::HttpAnswer answer) { co_return answer; }
Task<std::string> constant_text(std::string text) { co_return text; }

Result<net::HttpAccess> http_access(const Settings& settings) {
  net::HttpAccess access;
  access.reading_needs_token = !is_loopback(settings.http_listen.host);
  if (!settings.http_token_file.empty()) {
    TRY_ASSIGN(const auto secret, net::ess::read_secret_file(settings.http_token_file));
    access.token = secret->text();
  }
  access.open_paths = {"/healthz", "/readyz"};
  for (const PageFile& file : kPageFiles) access.open_paths.emplace(file.path);
  return access;
}

}  // namespace

struct Api::Route {
  const char* path;
  const char* methods;
  bool has_paths_below;
  Answer (Api::*answer)(net::HttpQuestion question);
};

Api::Api(Parts parts)
    : parts_(parts),
      disks_(parts.runtime, parts.io, parts.settings.data),
      probe_(parts.runtime, parts.settings.mount),
      report_({parts.settings, parts.runtime, parts.engine, parts.membership, parts.memory,
               parts.metrics, parts.workers, disks_, probe_, parts.local}),
      cluster_view_(parts.runtime, parts.engine, parts.membership, report_) {
  register_node_metrics(parts_.metrics, {parts.engine, parts.membership, parts.memory,
                                         parts.workers, disks_, probe_});
  parts_.engine.set_reporter(
      [this](std::string about) { return report_.answer(std::move(about)); });
}

Task<json::value> Api::status() {
  co_await disks_.refresh();
  json::array shuffles;
  for (const merge::ShuffleKey& key : co_await parts_.engine.catalog().shuffles()) {
    if (shuffles.size() == kMaxShuffles) break;
    shuffles.push_back(shuffle_json(co_await parts_.engine.catalog().totals(key)));
  }
  json::array peers;
  for (const merge::PeerHealth& peer : parts_.membership.health()) peers.push_back(peer_json(peer));
  json::object status = report_.identity();
  status["disks"] = report_.disks();
  status["memory"] = {{"budget_bytes", parts_.settings.memory_bytes},
                      {"used_bytes", report_.used_bytes()}};
  status["members"] = members_json(parts_.membership);
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

Task<net::HttpAnswer> Api::answer_status(net::HttpQuestion /*question*/) {
  co_return net::json_answer(co_await status());
}

Task<net::HttpAnswer> Api::answer_cluster(net::HttpQuestion /*question*/) {
  net::HttpAnswer answer = net::text_answer(co_await cluster_view_.text());
  answer.content_type = "application/json";
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_events(net::HttpQuestion /*question*/) {
  json::array events;
  for (const RecentEvent& event : recent_events().last())
    events.push_back(event_json(event, RecentEvents::kMostBytes));
  co_return net::json_answer(
      json::object{{"node", parts_.settings.node.str()}, {"events", std::move(events)}});
}

Task<net::HttpAnswer> Api::answer_clock(net::HttpQuestion /*question*/) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  co_return net::json_answer(json::object{
      {"unix_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()}});
}

Task<net::HttpAnswer> Api::answer_metrics(net::HttpQuestion /*question*/) {
  net::HttpAnswer answer = net::text_answer(co_await metrics_text());
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_health(net::HttpQuestion /*question*/) {
  co_return net::text_answer("ok\n");
}

Task<net::HttpAnswer> Api::answer_ready(net::HttpQuestion /*question*/) {
  const Status answers = co_await probe_.check();
  if (answers) co_return net::text_answer("ok\n");
  net::HttpAnswer answer = net::text_answer(printable(answers.error().message) + "\n");
  answer.status = 503;
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_page(net::HttpQuestion question) {
  const auto file = std::ranges::find(kPageFiles, question.path, &PageFile::path);
  if (file == kPageFiles.end()) co_return not_served(question.path);
  net::HttpAnswer answer;
  answer.content_type = file->content_type;
  answer.body = file->content;
  answer.headers = {{"Content-Security-Policy", std::string(kPolicy)},
                    {"Referrer-Policy", "no-referrer"},
                    {"X-Frame-Options", "DENY"}};
  co_return answer;
}

Task<net::HttpAnswer> Api::answer_drain(net::HttpQuestion question) {
  if (question.method != net::HttpMethod::kGet)
    parts_.engine.drain(question.method == net::HttpMethod::kPost);
  co_return net::json_answer(drain_json(parts_.engine.drain_status()));
}

Task<net::HttpAnswer> Api::answer_members(net::HttpQuestion question) {
  const auto name = merge::NodeName::parse(rest_of(question, kMembers));
  if (!name) co_return net::error_answer(name.error());
  const Status forgotten = co_await parts_.membership.forget(*name);
  if (!forgotten) co_return net::error_answer(forgotten.error());
  co_return net::json_answer(json::object{{"forgotten", true}});
}

Task<net::HttpAnswer> Api::answer_log_level(net::HttpQuestion question) {
  if (question.method == net::HttpMethod::kPost) {
    const auto wanted = question.query.find("level");
    const auto level =
        wanted == question.query.end() ? std::nullopt : parse_log_level(wanted->second);
    if (!level)
      co_return net::error_answer(400, "invalid_argument",
                                  "give ?level= with debug, info, warning or error");
    const LogLevel before = log_level();
    log_set_level(*level);
    on_log_level_(*level);
    // Not log_info: it must be seen also where the new level is above it.
    log_event(std::max(*level, LogLevel::kInfo), "log.level",
              {{"level", to_string(*level)}, {"before", to_string(before)}});
  }
  co_return net::json_answer(json::object{{"level", std::string(to_string(log_level()))}});
}

Task<net::HttpAnswer> Api::drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle) {
  const Status dropped = co_await parts_.engine.catalog().drop(std::move(app), shuffle);
  if (!dropped) co_return net::error_answer(dropped.error());
  co_return net::json_answer(json::object{{"dropped", true}});
}

Task<net::HttpAnswer> Api::answer_shuffle(merge::ShuffleKey key) {
  const merge::ShuffleTotals totals = co_await parts_.engine.catalog().totals(key);
  if (totals.known) co_return net::json_answer(shuffle_json(totals));
  // Whoever waits wants to know that a silent node might know more.
  std::string who;
  for (const merge::UnreachableNode& node : totals.unreachable)
    who += fmt::format("; {} does not answer: {}", node.node.str(), node.reason);
  co_return net::error_answer(404, "not_found",
                              fmt::format("no node knows shuffle {}{}", to_string(key), who));
}

Task<net::HttpAnswer> Api::answer_shuffles(net::HttpQuestion question) {
  std::string rest(rest_of(question, kShuffles));
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
    if (is_delete) co_return only("GET");
    co_return co_await answer_partition_sizes(parts_.engine.catalog(), *key, question.query);
  }
  if (is_delete) co_return co_await drop(key->app, key->shuffle);
  co_return co_await answer_shuffle(*key);
}

Status Api::add_routes(net::AdminHttp& http, std::function<void(LogLevel)> on_log_level) {
  static constexpr auto kRoutes = std::to_array<Route>({
      {"/", "GET", true, &Api::answer_page},  // for all that no other route serves
      {"/api/v1/status", "GET", false, &Api::answer_status},
      {"/api/v1/cluster", "GET", false, &Api::answer_cluster},
      {"/api/v1/events", "GET", false, &Api::answer_events},
      {"/api/v1/clock", "GET", false, &Api::answer_clock},
      {"/api/v1/shuffles", "GET, DELETE", true, &Api::answer_shuffles},
      {"/api/v1/drain", "GET, POST, DELETE", false, &Api::answer_drain},
      {"/api/v1/members", "DELETE", true, &Api::answer_members},
      {"/api/v1/log-level", "GET, POST", false, &Api::answer_log_level},
      {"/metrics", "GET", false, &Api::answer_metrics},
      {"/readyz", "GET", false, &Api::answer_ready},
      {"/healthz", "GET", false, &Api::answer_health},
  });
  TRY_ASSIGN(net::HttpAccess access, http_access(parts_.settings));
  on_log_level_ = std::move(on_log_level);
  for (const Route& route : kRoutes) {
    // No coroutine: it only makes the member's task.
    http.add_route(route.path, [this, &route](net::HttpQuestion question) {
      if (!route.has_paths_below && question.path != route.path)
        return constant(not_served(question.path));
      const std::string_view methods = route.methods;
      if (methods.find(to_string(question.method)) == std::string_view::npos)
        return constant(only(methods));
      return (this->*route.answer)(std::move(question));
    });
  }
  http.set_guard([guard = net::HttpGuard(std::move(access))](const net::HttpQuestion& question) {
    return guard.refuse(question);
  });
  return ok();
}

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
