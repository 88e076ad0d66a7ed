#include "main/api_shuffles.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/parse.h"
#include "main/partition_sums.h"
#include "merge/partition_stream.h"
#include "merge/verify.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

constexpr uint64_t kMostPerPage = 10'000;
constexpr uint64_t kPartitionsPerPage = 256;
constexpr auto kPageTime = std::chrono::seconds(3);

// What stands behind a route's prefix: <app>/<shuffle>[/<partition>].
struct Target {
  merge::ShuffleKey shuffle;
  std::optional<merge::PartitionId> partition;
};

Result<Target> parse_target(std::string_view path, std::string_view prefix) {
  std::string_view rest = path.substr(std::min(path.size(), prefix.size()));
  while (rest.starts_with('/')) rest.remove_prefix(1);
  const auto parts = split(rest, '/');
  if (parts.size() < 2 || parts.size() > 3)
    return make_error(
        Code::kInvalidArgument,
        fmt::format("write {}/APP/SHUFFLE or {}/APP/SHUFFLE/PARTITION", prefix, prefix));
  Target target;
  TRY_ASSIGN(target.shuffle, merge::parse_shuffle_key(fmt::format("{}/{}", parts[0], parts[1])));
  if (parts.size() == 3) {
    TRY_ASSIGN(target.partition, merge::parse_partition_id(parts[2]));
  }
  return target;
}

Result<uint64_t> number_of(const net::HttpQuestion& question, std::string_view name,
                           uint64_t otherwise, uint64_t most) {
  const auto found = question.query.find(name);
  if (found == question.query.end()) return otherwise;
  const auto value = parse_decimal(found->second, most);
  if (value) return *value;
  return make_error(Code::kInvalidArgument,
                    fmt::format("{}={}: a number up to {} is allowed", name, found->second, most));
}

json::value name_or_null(const std::optional<merge::NodeName>& name) {
  return name ? json::value(name->str()) : json::value(nullptr);
}

json::array texts(const std::vector<std::string>& list) {
  return json::array(list.begin(), list.end());
}

json::object partition_json(const merge::PartitionPlan& plan) {
  json::object object{{"partition", merge::number(plan.partition)},
                      {"bytes", plan.bytes},
                      {"merged_bytes", plan.merged_bytes},
                      {"blocks", plan.blocks.size()},
                      {"maps", plan.maps},
                      {"maps_merged", plan.maps_merged},
                      {"owner", name_or_null(plan.owner)},
                      {"whole_at", name_or_null(plan.whole_at)},
                      {"unreachable", texts(plan.unreachable)},
                      {"incomplete", nullptr}};
  if (plan.incomplete) object["incomplete"] = *plan.incomplete;
  return object;
}

json::object block_json(const merge::PlannedBlock& block) {
  json::object object{{"map", merge::number(block.map)},
                      {"offset", block.offset},
                      {"bytes", block.length},
                      {"merged_at", nullptr},
                      {"crc32c", nullptr},
                      {"origin", name_or_null(block.origin)}};
  if (block.merged) {
    object["merged_at"] = block.merged->holder.str();
    object["crc32c"] = fmt::format("{:08x}", block.merged->crc);
  }
  return object;
}

// Where the copy lies, relative to a data directory of its node.
std::string file_of(const merge::PartitionPlan& plan, const merge::CopyFinding& finding) {
  if (finding.is_merged) return merge::merged_file(plan);
  return fmt::format("the data of map {}", merge::number(finding.map));
}

json::object finding_json(const merge::PartitionPlan& plan, const merge::CopyFinding& finding) {
  return {{"partition", merge::number(plan.partition)},
          {"map", merge::number(finding.map)},
          {"node", finding.node.str()},
          {"copy", finding.is_merged ? "merged" : "origin"},
          {"file", file_of(plan, finding)},
          {"offset", finding.offset},
          {"bytes", finding.length},
          {"code", std::string(to_string(finding.code))},
          {"errno", finding.sys_errno},
          {"reason", finding.reason}};
}

}  // namespace

Task<net::HttpAnswer> ShuffleApi::names(net::HttpQuestion question) {
  const auto count = number_of(question, "count", 1000, kMostPerPage);
  if (!count) co_return net::error_answer(count.error());
  std::optional<merge::ShuffleKey> after;
  if (const auto found = question.query.find("after"); found != question.query.end()) {
    auto key = merge::parse_shuffle_key(found->second);
    if (!key) co_return net::error_answer(key.error());
    after = std::move(*key);
  }
  json::array list;
  std::optional<std::string> next;
  for (const merge::ShuffleKey& key : co_await engine_.catalog().shuffles()) {
    if (after && !(*after < key)) continue;
    if (list.size() == *count) {
      const json::object& last = list.back().as_object();
      next = fmt::format("{}/{}", std::string_view(last.at("app").as_string()),
                         last.at("shuffle").to_number<uint64_t>());
      break;
    }
    list.push_back({{"app", key.app.str()}, {"shuffle", merge::number(key.shuffle)}});
  }
  json::object answer{{"shuffles", std::move(list)}};
  if (next) answer["next"] = *next;
  co_return net::json_answer(answer);
}

Task<net::HttpAnswer> ShuffleApi::partitions(net::HttpQuestion question) {
  const auto target = parse_target(question.path, "/api/v1/partitions");
  if (!target) co_return net::error_answer(target.error());
  const auto from = number_of(question, "from", 0, UINT64_MAX);
  if (!from) co_return net::error_answer(from.error());
  const uint64_t most = target->partition ? kMostPerPage : kPartitionsPerPage;
  const auto count = number_of(question, "count", most, most);
  if (!count) co_return net::error_answer(count.error());
  if (target->partition)
    co_return co_await blocks(target->shuffle, *target->partition, *from, *count);
  co_return co_await sizes(target->shuffle, *from, *count);
}

Task<net::HttpAnswer> ShuffleApi::sizes(merge::ShuffleKey shuffle, uint64_t from, uint64_t count) {
  const TimePoint start = runtime_.now();
  const uint32_t all = co_await engine_.catalog().partition_count(shuffle);
  if (all == 0)
    co_return net::error_answer(404, "not_found",
                                fmt::format("no node knows shuffle {}", to_string(shuffle)));
  PartitionsWithBytes page;
  const auto first = static_cast<uint32_t>(std::min<uint64_t>(from, all));
  if (all > merge::kMostListed && first < all) {
    page = co_await partitions_with_bytes(runtime_, engine_.catalog(), shuffle, first, all, count,
                                          kPageTime);
  } else {
    page.next = static_cast<uint32_t>(std::min<uint64_t>(all, uint64_t{first} + count));
    for (uint32_t partition = first; partition < page.next; ++partition)
      page.partitions.push_back(static_cast<merge::PartitionId>(partition));
  }
  json::array list;
  uint32_t next = page.next;
  for (const merge::PartitionId partition : page.partitions) {
    if (!list.empty() && runtime_.now() - start >= 2 * kPageTime) {
      next = merge::number(partition);
      break;
    }
    list.push_back(partition_json(co_await engine_.catalog().plan(shuffle, partition)));
  }
  json::object answer{{"app", shuffle.app.str()},
                      {"shuffle", merge::number(shuffle.shuffle)},
                      {"partition_count", all},
                      {"partitions", std::move(list)},
                      {"may_miss", texts(page.unknown)}};
  if (next < all) answer["next"] = next;
  co_return net::json_answer(answer);
}

Task<net::HttpAnswer> ShuffleApi::blocks(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                         uint64_t from, uint64_t count) {
  const merge::PartitionPlan plan = co_await engine_.catalog().plan(shuffle, partition);
  if (!plan.known && !plan.incomplete)
    co_return net::error_answer(404, "not_found",
                                fmt::format("no node knows partition {} of shuffle {}",
                                            merge::number(partition), to_string(shuffle)));
  json::object answer = partition_json(plan);
  json::array list;
  for (uint64_t i = from; i < plan.blocks.size() && list.size() < count; ++i)
    list.push_back(block_json(plan.blocks[i]));
  if (from + list.size() < plan.blocks.size()) answer["next"] = from + list.size();
  answer["app"] = shuffle.app.str();
  answer["shuffle"] = merge::number(shuffle.shuffle);
  answer["list"] = std::move(list);
  co_return net::json_answer(answer);
}

Task<net::HttpAnswer> ShuffleApi::verify(net::HttpQuestion question) {
  const auto target = parse_target(question.path, "/api/v1/verify");
  if (!target) co_return net::error_answer(target.error());
  if (!target->partition)
    co_return net::error_answer(400, "invalid_argument",
                                "write /api/v1/verify/APP/SHUFFLE/PARTITION");
  const auto from = number_of(question, "from", 0, UINT64_MAX);
  if (!from) co_return net::error_answer(from.error());
  merge::PartitionPlan plan = co_await engine_.catalog().plan(target->shuffle, *target->partition);
  const merge::VerifyReport report =
      co_await merge::verify_blocks(runtime_, cluster_, plan, *from, {});
  if (!report.findings.empty() && on_findings_) on_findings_();
  json::array findings;
  for (const merge::CopyFinding& finding : report.findings)
    findings.push_back(finding_json(plan, finding));
  json::object answer{{"partition", merge::number(plan.partition)},
                      {"blocks", report.blocks},
                      {"bytes", report.bytes},
                      {"merged_right", report.merged},
                      {"origins_right", report.origins},
                      {"origins_gone", report.origins_gone},
                      {"lost_at_origin", report.lost_at_origin},
                      {"findings", std::move(findings)},
                      {"unreachable", texts(plan.unreachable)},
                      {"incomplete", nullptr}};
  if (plan.incomplete) answer["incomplete"] = *plan.incomplete;
  if (report.next_block < plan.blocks.size()) answer["next"] = report.next_block;
  co_return net::json_answer(answer);
}

Task<std::vector<merge::PartitionId>> ShuffleApi::with_bytes(merge::ShuffleKey shuffle,
                                                             uint32_t count) {
  PartitionsWithBytes found = co_await partitions_with_bytes(
      runtime_, engine_.catalog(), std::move(shuffle), 0, count, merge::kMostListed, kPageTime);
  if (found.next < count || !found.unknown.empty()) found.partitions.clear();
  co_return std::move(found.partitions);
}

void ShuffleApi::add_routes(net::AdminHttp& http) {
  // The lambdas are no coroutines: they only make the member's task.
  http.add_route("/api/v1/names",
                 [this](net::HttpQuestion question) { return names(std::move(question)); });
  http.add_route("/api/v1/partitions",
                 [this](net::HttpQuestion question) { return partitions(std::move(question)); });
  http.add_route("/api/v1/verify",
                 [this](net::HttpQuestion question) { return verify(std::move(question)); });
}

}  // namespace shufflefs
