#include "base/metrics.h"

#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <thread>

namespace shufflefs {

TEST_CASE("metrics: the text format, families by name, series by label value") {
  Metrics metrics;
  metrics.counter("b_total", "Counted.\nTwice.").add(3);
  auto& by_reason = metrics.counters("c_total", "By reason.", "reason");
  by_reason.with("no \"space\"\n\\").add();
  by_reason.with("a").add(2);
  metrics.counters("d_total", "Nothing yet.", "peer");
  metrics.gauge("a", "Now.", [] { return 0.5; });
  metrics.gauges("e", "Of each.", "disk", [] {
    return Metrics::Samples{{"disk0", 1e20}, {"disk1", std::numeric_limits<double>::infinity()}};
  });
  metrics.counter_from("f_total", "Elsewhere.", [] { return 7.0; });
  CHECK(metrics.render() ==
        "# HELP a Now.\n# TYPE a gauge\na 0.5\n"
        "# HELP b_total Counted.\\nTwice.\n# TYPE b_total counter\nb_total 3\n"
        "# HELP c_total By reason.\n# TYPE c_total counter\n"
        "c_total{reason=\"a\"} 2\nc_total{reason=\"no \\\"space\\\"\\n\\\\\"} 1\n"
        "# HELP d_total Nothing yet.\n# TYPE d_total counter\n"
        "# HELP e Of each.\n# TYPE e gauge\ne{disk=\"disk0\"} 1e+20\ne{disk=\"disk1\"} +Inf\n"
        "# HELP f_total Elsewhere.\n# TYPE f_total counter\nf_total 7\n");
  CHECK(metrics.value("b_total") == 3);
  CHECK(metrics.value("c_total") == 3);
  CHECK(metrics.value("c_total", "a") == 2);
  CHECK(metrics.value("c_total", "z") == 0);
  CHECK(metrics.value("nothing_total") == 0);
}

TEST_CASE("metrics: a label of any bytes is one line of UTF-8") {
  Metrics metrics;
  metrics.counters("c_total", "By name.", "name").with("\xFF\x1B[2J\xC3\xA9").add();
  CHECK(metrics.render() ==
        "# HELP c_total By name.\n# TYPE c_total counter\n"
        "c_total{name=\"\\\\xff\\\\x1b[2J\xC3\xA9\"} 1\n");
}

TEST_CASE("metrics: a histogram's buckets are cumulative, and its bounds are included") {
  Metrics metrics;
  Histogram& times = metrics.histograms("t_seconds", "Took.", "op").with("read");
  times.observe(std::chrono::microseconds(10));
  times.observe(std::chrono::microseconds(11));
  times.observe(std::chrono::seconds(60));
  CHECK(times.count() == 3);
  CHECK(times.buckets().front() == 1);
  CHECK(times.buckets().back() == 1);
  const std::string text = metrics.render();
  CHECK(text.find("t_seconds_bucket{op=\"read\",le=\"1e-05\"} 1\n") != std::string::npos);
  CHECK(text.find("t_seconds_bucket{op=\"read\",le=\"5e-05\"} 2\n") != std::string::npos);
  CHECK(text.find("t_seconds_bucket{op=\"read\",le=\"10\"} 2\n") != std::string::npos);
  CHECK(text.find("t_seconds_bucket{op=\"read\",le=\"+Inf\"} 3\n") != std::string::npos);
  CHECK(text.find("t_seconds_sum{op=\"read\"} 60.000021\n") != std::string::npos);
  CHECK(text.find("t_seconds_count{op=\"read\"} 3\n") != std::string::npos);
}

TEST_CASE("metrics: the same name is the same thing, and never two kinds of thing") {
  Metrics metrics;
  CHECK(&metrics.counter("a_total", "A.") == &metrics.counter("a_total", "B."));
  CHECK_THROWS_AS(metrics.histogram("a_total", "A."), std::logic_error);
  CHECK_THROWS_AS(metrics.counters("a_total", "A.", "label"), std::logic_error);
}

TEST_CASE("metrics: label values are bounded") {
  Metrics metrics;
  auto& series = metrics.counters("a_total", "A.", "peer");
  for (int i = 0; i < 2000; ++i) series.with(std::to_string(i)).add();
  CHECK(series.all().size() == Labelled<Counter>::kMostSeries + 1);
  CHECK(metrics.value("a_total", "other") == 2000 - Labelled<Counter>::kMostSeries);
  CHECK(metrics.value("a_total") == 2000);
}

TEST_CASE("metrics: counted on many threads while they are rendered") {
  Metrics metrics;
  std::vector<std::thread> threads;
  Histogram& times = metrics.histogram("t_seconds", "T.");
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics, &times, t] {
      auto& series = metrics.counters("c_total", "C.", "thread");
      for (int i = 0; i < 5000; ++i) {
        times.observe(std::chrono::nanoseconds(i));
        series.with(std::to_string(t)).add();
      }
    });
  }
  for (int i = 0; i < 20; ++i) CHECK_FALSE(metrics.render().empty());
  for (std::thread& thread : threads) thread.join();
  CHECK(times.count() == 20000);
  CHECK(metrics.value("c_total") == 20000);
}

}  // namespace shufflefs
