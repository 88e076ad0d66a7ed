// What `shufflefs top` shows: two looks at a node, and what has changed between them. Pure
// functions.
#pragma once

#include <boost/json/value.hpp>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "main/terminal.h"
#include "main/views.h"

namespace shufflefs {

// Metrics by their names: the values of all label sets of a name added up.
class MetricSums {
 public:
  MetricSums() = default;
  // In the Prometheus text format; lines that are not understood are left out.
  explicit MetricSums(std::string_view text);
  [[nodiscard]] double of(const std::string& name) const;  // 0 if there is none
  [[nodiscard]] bool has(const std::string& name) const { return sums_.contains(name); }

 private:
  std::map<std::string, double> sums_;
};

struct TopSample {
  std::chrono::steady_clock::time_point when;
  boost::json::value status;
  MetricSums metrics;
};

// A line of rates: what it counts, per second.
struct Rate {
  std::string_view label;
  double per_second = 0;
  double total = 0;
  bool is_bytes = false;
};
// Zero where the node was restarted in between, as its counters began anew.
[[nodiscard]] std::vector<Rate> rates_between(const TopSample& before, const TopSample& now);

// At most `rows` lines of at most `columns` characters (0: no limit); what does not fit is left
// out, and said so.
[[nodiscard]] std::string top_page(const TopSample& before, const TopSample& now,
                                   const Terminal& terminal, std::size_t rows, std::size_t columns);

}  // namespace shufflefs
