#include "main/partition_sizes_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/parse.h"
#include "main/partition_sums.h"

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
  const PartitionSums sums = co_await sum_partitions(catalog, {key, *first, cells, width});
  json::array unreachable;
  for (const auto& [node, reason] : sums.unreachable)
    unreachable.push_back({{"node", node.str()}, {"reason", reason}});
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
