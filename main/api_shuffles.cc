#include "main/api_shuffles.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "base/parse.h"
#include "merge/partition_stream.h"
#include "merge/verify.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
using merge::PartitionSizesQuestion;

// How large the partitions of a shuffle are, summed over what every node reports. Memory: 16 bytes
// for each cell.
struct PartitionSums {
  std::vector<uint64_t> committed;  // by cell
  std::vector<uint64_t> merged;     // by cell
  uint64_t maps = 0;
  uint64_t maps_counted = 0;  // fewer than maps: some are still to be read, or cannot be
  std::vector<std::pair<merge::NodeName, std::string>> unreachable;  // and why
  [[nodiscard]] bool has_bytes(std::size_t cell) const {
    return committed[cell] > 0 || merged[cell] > 0;
  }
};

struct PartitionsWithBytes {
  std::vector<merge::PartitionId> partitions;  // in order
  uint32_t next = 0;                           // where to go on
  std::vector<std::string> unknown;            // why some may be missing
};

void add_list(std::vector<uint64_t>& sum, const json::value& list) {
  const json::array& numbers = list.as_array();
  for (std::size_t i = 0; i < std::min(sum.size(), numbers.size()); ++i)
    sum[i] += numbers[i].to_number<uint64_t>();
}

// Throws what Boost.JSON throws for a report that is none.
void add_report(PartitionSums& sums, const std::string& text) {
  const json::value report = json::parse(text);
  add_list(sums.committed, report.at("committed_bytes"));
  add_list(sums.merged, report.at("merged_bytes"));
  sums.maps += report.at("maps").to_number<uint64_t>();
  sums.maps_counted += report.at("maps_counted").to_number<uint64_t>();
}

// Of the partitions from `first` to `end` - 1.
PartitionSizesQuestion whole_range(const merge::ShuffleKey& shuffle, uint32_t first, uint32_t end) {
  const uint32_t count = end - first;
  const uint32_t width = (count - 1) / PartitionSizesQuestion::kMostCells + 1;
  return {shuffle, first, (count - 1) / width + 1, width};
}

std::vector<std::string> what_is_unknown(const PartitionSums& sums) {
  std::vector<std::string> reasons;
  for (const auto& [node, reason] : sums.unreachable)
    reasons.push_back(fmt::format("{}: {}", node.str(), reason));
  if (sums.maps_counted < sums.maps)
    reasons.push_back(fmt::format("the indexes of {} of {} map outputs have not been read",
                                  sums.maps - sums.maps_counted, sums.maps));
  return reasons;
}

// In cells of question.width partitions, from question.first on.
Task<PartitionSums> sum_partitions(merge::Catalog& catalog, PartitionSizesQuestion question) {
  PartitionSums sums;
  sums.committed.resize(question.cells);
  sums.merged.resize(question.cells);
  for (const auto& [node, report] :
       co_await catalog.reports(fmt::format("sizes {} {} {} {}", to_string(question.shuffle),
                                            question.first, question.cells, question.width))) {
    std::string reason = report ? std::string() : report.error().message;
    try {
      if (report) add_report(sums, *report);
    } catch (const std::exception&) {
      reason = "its report cannot be read: is it of another version?";
    }
    if (!reason.empty()) sums.unreachable.emplace_back(node, std::move(reason));
  }
  co_return sums;
}

// The first `most` partitions that have bytes, from `from` to `end` - 1; fewer if `patience` is
// over. A node that does not answer, or has not read all of its map outputs, is named in `unknown`.
Task<PartitionsWithBytes> partitions_with_bytes(Runtime& runtime, merge::Catalog& catalog,
                                                merge::ShuffleKey shuffle, uint32_t from,
                                                uint32_t end, std::size_t most, Duration patience) {
  const TimePoint deadline = runtime.now() + patience;
  const PartitionSizesQuestion all = whole_range(shuffle, from, end);
  PartitionSums sums = co_await sum_partitions(catalog, all);
  // Each question reads further ones, unless they cannot be read.
  for (uint64_t before = 0;
       sums.maps_counted < sums.maps && sums.maps_counted > before && runtime.now() < deadline;) {
    before = sums.maps_counted;
    sums = co_await sum_partitions(catalog, all);
  }
  PartitionsWithBytes found{{}, end, what_is_unknown(sums)};
  for (uint32_t cell = 0; cell < all.cells; ++cell) {
    if (!sums.has_bytes(cell)) continue;
    const uint32_t first = all.first + cell * all.width;
    if (found.partitions.size() == most ||
        (!found.partitions.empty() && runtime.now() > deadline)) {
      found.next = first;
      break;
    }
    const uint32_t width = std::min(all.width, end - first);
    // At most kMaxPartitions / kMostCells partitions: each has a cell of its own now.
    const PartitionSums single =
        width == 1 ? PartitionSums{} : co_await sum_partitions(catalog, {shuffle, first, width, 1});
    for (uint32_t i = 0; i < width; ++i) {
      if (width > 1 && !single.has_bytes(i)) continue;
      if (found.partitions.size() == most) {
        found.next = first + i;
        co_return found;
      }
      found.partitions.push_back(static_cast<merge::PartitionId>(first + i));
    }
  }
  co_return found;
}

using Query = std::map<std::string, std::string, std::less<>>;

Result<uint64_t> number_in(const Query& query, std::string_view name, uint64_t otherwise,
                           uint64_t min, uint64_t max) {
  const auto found = query.find(name);
  if (found == query.end()) return otherwise;
  const auto value = parse_decimal(found->second, max);
  if (value && *value >= min) return *value;
  return make_error(Code::kInvalidArgument, fmt::format("{}='{}': a number from {} to {} is wanted",
                                                        name, found->second, min, max));
}

net::HttpAnswer unknown_shuffle(const merge::ShuffleKey& shuffle) {
  return net::error_answer(404, "not_found",
                           fmt::format("no node knows shuffle {}", to_string(shuffle)));
}

}  // namespace

Task<net::HttpAnswer> answer_partition_sizes(merge::Catalog& catalog, merge::ShuffleKey key,
                                             Query query) {
  using Question = merge::PartitionSizesQuestion;
  const uint32_t partitions = co_await catalog.partition_count(key);
  if (partitions == 0) co_return unknown_shuffle(key);
  const auto first = number_in(query, "first", 0, 0, partitions - 1);
  if (!first) co_return net::error_answer(first.error());
  const auto count = number_in(query, "count", partitions - *first, 1, merge::kMaxPartitions);
  if (!count) co_return net::error_answer(count.error());
  const auto wanted = number_in(query, "cells", 400, 1, Question::kMostCells);
  if (!wanted) co_return net::error_answer(wanted.error());

  const auto from = static_cast<uint32_t>(*first);
  const auto shown = static_cast<uint32_t>(std::min<uint64_t>(*count, partitions - from));
  const auto width = static_cast<uint32_t>((shown + *wanted - 1) / *wanted);
  const uint32_t cells = (shown + width - 1) / width;
  const PartitionSums sums = co_await sum_partitions(catalog, {key, from, cells, width});
  json::array unreachable;
  for (const auto& [node, reason] : sums.unreachable)
    unreachable.push_back({{"node", node.str()}, {"reason", reason}});
  co_return net::json_answer(
      json::object{{"app", key.app.str()},
                   {"shuffle", merge::number(key.shuffle)},
                   {"partitions", partitions},
                   {"first", from},
                   {"count", shown},
                   {"width", width},
                   {"committed_bytes", json::array(sums.committed.begin(), sums.committed.end())},
                   {"merged_bytes", json::array(sums.merged.begin(), sums.merged.end())},
                   {"maps", sums.maps},
                   {"maps_counted", sums.maps_counted},
                   {"unreachable", std::move(unreachable)}});
}

namespace {

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
  const auto count = number_in(question.query, "count", 1000, 0, kMostPerPage);
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
  const auto from = number_in(question.query, "from", 0, 0, UINT64_MAX);
  if (!from) co_return net::error_answer(from.error());
  const uint64_t most = target->partition ? kMostPerPage : kPartitionsPerPage;
  const auto count = number_in(question.query, "count", most, 0, most);
  if (!count) co_return net::error_answer(count.error());
  if (target->partition)
    co_return co_await blocks(target->shuffle, *target->partition, *from, *count);
  co_return co_await sizes(target->shuffle, *from, *count);
}

Task<net::HttpAnswer> ShuffleApi::sizes(merge::ShuffleKey shuffle, uint64_t from, uint64_t count) {
  const TimePoint start = runtime_.now();
  const uint32_t all = co_await engine_.catalog().partition_count(shuffle);
  if (all == 0) co_return unknown_shuffle(shuffle);
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
  const auto from = number_in(question.query, "from", 0, 0, UINT64_MAX);
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
