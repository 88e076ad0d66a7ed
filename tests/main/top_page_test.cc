#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <catch2/catch_test_macros.hpp>

#include "base/parse.h"
#include "main/top.h"

namespace shufflefs {
namespace {

TopSample sample(int second, double uptime, const std::string& metrics) {
  TopSample made;
  made.when = std::chrono::steady_clock::time_point() + std::chrono::seconds(second);
  made.status = {{"node", "node1"}, {"uptime_s", uptime}};
  made.metrics = MetricSums(metrics);
  return made;
}

const Rate& rate_of(const std::vector<Rate>& rates, std::string_view label) {
  for (const Rate& rate : rates) {
    if (rate.label == label) return rate;
  }
  throw std::out_of_range("no such rate");
}

}  // namespace

TEST_CASE("top: metrics are added up over their labels") {
  const MetricSums sums(
      "# HELP a_total x\n# TYPE a_total counter\na_total 3\nb_total{peer=\"n 1}\"} 2\n"
      "b_total{peer=\"n2\"} 1.5\nnonsense\nc{x=\"y\"}\nd NaNo\n");
  CHECK(sums.of("a_total") == 3);
  CHECK(sums.of("b_total") == 3.5);
  CHECK(sums.of("unknown") == 0);
  CHECK_FALSE(sums.has("nonsense"));
}

TEST_CASE("top: rates are what changed, and nothing after a restart") {
  const TopSample before = sample(0, 10, "shufflefs_merge_bytes_total 1000\n");
  const TopSample now = sample(2, 12, "shufflefs_merge_bytes_total 5000\n");
  CHECK(rate_of(rates_between(before, now), "merged").per_second == 2000);
  CHECK(rate_of(rates_between(before, now), "merged").total == 5000);
  const TopSample restarted = sample(2, 1, "shufflefs_merge_bytes_total 7000\n");
  CHECK(rate_of(rates_between(before, restarted), "merged").per_second == 0);
  CHECK(rate_of(rates_between(now, now), "merged").per_second == 0);
}

TEST_CASE("top: the page fits the terminal, slow and dead peers come first") {
  TopSample now = sample(2, 12, "");
  boost::json::array peers;
  for (int i = 0; i < 30; ++i) {
    peers.push_back({{"name", "node" + std::to_string(i)},
                     {"up", i != 7},
                     {"reason", "connection refused, and a text that is far too long to fit"},
                     {"round_trip_ms", i}});
  }
  now.status.as_object()["peers"] = std::move(peers);
  const std::string page = top_page(now, now, Terminal::plain(), 12, 40);
  const auto lines = split(page, '\n');
  CHECK(lines.size() == 13);  // the last one is empty
  for (const std::string_view line : lines) CHECK(line.size() <= 60);
  CHECK(page.find("node7") < page.find("node29"));
  CHECK(page.find("node29") < page.find("node28"));
  CHECK(page.find("more lines") != std::string::npos);
  CHECK(top_page(now, now, Terminal::plain(), 0, 0).find("node0 ") != std::string::npos);
}

}  // namespace shufflefs
