#include "main/partition_sizes_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "base/parse.h"
#include "merge/partition_sizes.h"

namespace shufflefs {
namespace {

namespace json = boost::json;

using Query = std::map<std::string, std::string, std::less<>>;

Result<uint32_t> number_in(const Query& query, const std::string& name, uint32_t otherwise,
                           uint32_t least, uint32_t most) {
  const auto it = query.find(name);
  if (it == query.end()) return otherwise;
  const auto value = parse_decimal(it->second, most);
  if (value && *value >= least) return static_cast<uint32_t>(*value);
  return make_error(Code::kInvalidArgument, fmt::format("{}='{}': a number from {} to {} is wanted",
                                                        name, it->second, least, most));
}

struct Sums {
  std::vector<uint64_t> committed;
  std::vector<uint64_t> merged;
  uint64_t maps = 0;
  uint64_t maps_counted = 0;
};

void add_list(std::vector<uint64_t>& sum, const json::value& list) {
  const json::array& numbers = list.as_array();
  for (std::size_t i = 0; i < std::min(sum.size(), numbers.size()); ++i)
    sum[i] += numbers[i].to_number<uint64_t>();
}

// Throws what Boost.JSON throws for a report that is none.
void add_report(Sums& sums, const std::string& text) {
  const json::value report = json::parse(text);
  add_list(sums.committed, report.at("committed_bytes"));
  add_list(sums.merged, report.at("merged_bytes"));
  sums.maps += report.at("maps").to_number<uint64_t>();
  sums.maps_counted += report.at("maps_counted").to_number<uint64_t>();
}

}  // namespace

Task<net::HttpAnswer> answer_partition_sizes(merge::Catalog& catalog, merge::ShuffleKey key,
                                             Query query) {
  using Question = merge::PartitionSizesQuestion;
  const uint32_t partitions = co_await catalog.partition_count(key);
  if (partitions == 0) {
    co_return net::error_answer(404, "not_found",
                                fmt::format("no node knows shuffle {}", to_string(key)));
  }
  const auto first = number_in(query, "first", 0, 0, partitions - 1);
  if (!first) co_return net::error_answer(first.error());
  const auto count = number_in(query, "count", partitions - *first, 1, merge::kMaxPartitions);
  if (!count) co_return net::error_answer(count.error());
  const auto wanted = number_in(query, "cells", 400, 1, Question::kMostCells);
  if (!wanted) co_return net::error_answer(wanted.error());

  const uint32_t shown = std::min(*count, partitions - *first);
  const uint32_t width = (shown + *wanted - 1) / *wanted;
  const uint32_t cells = (shown + width - 1) / width;
  Sums sums;
  sums.committed.resize(cells);
  sums.merged.resize(cells);
  json::array unreachable;
  for (const auto& [node, report] : co_await catalog.reports(
           fmt::format("sizes {} {} {} {}", to_string(key), *first, cells, width))) {
    std::string reason = report ? std::string() : report.error().message;
    try {
      if (report) add_report(sums, *report);
    } catch (const std::exception&) {
      reason = "its report cannot be read: is it of another version?";
    }
    if (!reason.empty()) unreachable.push_back({{"node", node.str()}, {"reason", reason}});
  }
  co_return net::json_answer(
      json::object{{"app", key.app.str()},
                   {"shuffle", merge::number(key.shuffle)},
                   {"partitions", partitions},
                   {"first", *first},
                   {"count", shown},
                   {"width", width},
                   {"committed_bytes", json::array(sums.committed.begin(), sums.committed.end())},
                   {"merged_bytes", json::array(sums.merged.begin(), sums.merged.end())},
                   {"maps", sums.maps},
                   {"maps_counted", sums.maps_counted},
                   {"unreachable", std::move(unreachable)}});
}

}  // namespace shufflefs
