#include "main/partition_sums.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

namespace shufflefs {
namespace {

namespace json = boost::json;
using merge::PartitionSizesQuestion;

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

}  // namespace

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

}  // namespace shufflefs
