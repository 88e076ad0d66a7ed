// Counters, histograms and gauges with a name and a line of help, rendered in the Prometheus text
// format (version 0.0.4). A family is one name; a family with a label has a series for each value
// of it. Our own and not prometheus-cpp: see docs/dependencies.md.
//
// Threads: any. Ownership: what is returned stays valid as long as the Metrics. Cost: an event is
// one relaxed atomic add (a histogram: two); with() takes a lock, so whoever counts often keeps
// the reference. Bound: kMostSeries for each family; further label values count as "other".
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace shufflefs {

class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// How long something took, in seconds when it is rendered.
class Histogram {
 public:
  // Upper bounds of the buckets; what takes longer is only in the count. From what a call into the
  // mount takes to what a deadline allows.
  static constexpr std::array<std::chrono::microseconds, 13> kBounds = {
      std::chrono::microseconds(10),        std::chrono::microseconds(50),
      std::chrono::microseconds(100),       std::chrono::microseconds(500),
      std::chrono::microseconds(1'000),     std::chrono::microseconds(5'000),
      std::chrono::microseconds(10'000),    std::chrono::microseconds(50'000),
      std::chrono::microseconds(100'000),   std::chrono::microseconds(500'000),
      std::chrono::microseconds(1'000'000), std::chrono::microseconds(5'000'000),
      std::chrono::microseconds(10'000'000)};

  void observe(std::chrono::nanoseconds took) {
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && took > kBounds[bucket]) ++bucket;
    buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(static_cast<uint64_t>(took.count()), std::memory_order_relaxed);
  }
  // Of each bucket alone; the last is for what is above all bounds.
  [[nodiscard]] std::array<uint64_t, kBounds.size() + 1> buckets() const;
  [[nodiscard]] uint64_t count() const;
  [[nodiscard]] double sum_seconds() const {
    return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) / 1e9;
  }

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> buckets_{};
  std::atomic<uint64_t> sum_ns_{0};
};

// The series of one family, by the value of its label.
template <class T>
class Labelled {
 public:
  static constexpr std::size_t kMostSeries = 512;

  // Made at the first call with a value, the same one afterwards.
  T& with(const std::string& label_value) {
    const MutexLock lock(mu_);
    const auto it = series_.find(label_value);
    if (it != series_.end()) return *it->second;
    std::unique_ptr<T>& made = series_[series_.size() < kMostSeries ? label_value : "other"];
    if (!made) made = std::make_unique<T>();
    return *made;
  }
  // By label value. The pointers stay valid.
  [[nodiscard]] std::vector<std::pair<std::string, const T*>> all() const {
    const MutexLock lock(mu_);
    std::vector<std::pair<std::string, const T*>> list;
    list.reserve(series_.size());
    for (const auto& [value, series] : series_) list.emplace_back(value, series.get());
    return list;
  }

 private:
  mutable Mutex mu_;
  std::map<std::string, std::unique_ptr<T>> series_ GUARDED_BY(mu_);
};

class Metrics {
 public:
  using Samples = std::vector<std::pair<std::string, double>>;  // label value, number

  // Names of counters end in _total; units are in the name. A family is made at the first call with
  // its name, the same one afterwards; it is in the output from then on, also without a series.
  Counter& counter(const std::string& name, const std::string& help);
  Labelled<Counter>& counters(const std::string& name, const std::string& help,
                              const std::string& label);
  Histogram& histogram(const std::string& name, const std::string& help);  // _seconds
  Labelled<Histogram>& histograms(const std::string& name, const std::string& help,
                                  const std::string& label);

  // Evaluated at rendering time, on the rendering thread. A second call replaces the first.
  void gauge(const std::string& name, const std::string& help, std::function<double()> value);
  void gauges(const std::string& name, const std::string& help, const std::string& label,
              std::function<Samples()> samples);
  // A counter that somebody else counts.
  void counter_from(const std::string& name, const std::string& help,
                    std::function<double()> value);
  void counters_from(const std::string& name, const std::string& help, const std::string& label,
                     std::function<Samples()> samples);

  [[nodiscard]] std::string render() const;
  // Of a counter, or the sum of its series; 0 if there is none.
  [[nodiscard]] uint64_t value(const std::string& counter_name) const;
  [[nodiscard]] uint64_t value(const std::string& counter_name,
                               const std::string& label_value) const;

 private:
  struct Family {
    std::string help;
    std::string type;
    std::string label;  // empty: one series without a label
    std::unique_ptr<Labelled<Counter>> counters;
    std::unique_ptr<Labelled<Histogram>> histograms;
    std::function<Samples()> samples;
  };
  Family& family(const std::string& name, const std::string& help, const std::string& type,
                 const std::string& label) REQUIRES(mu_);
  void add_samples(const std::string& name, const std::string& help, const std::string& type,
                   const std::string& label, std::function<Samples()> samples);

  mutable Mutex mu_;
  std::map<std::string, Family> families_ GUARDED_BY(mu_);
};

}  // namespace shufflefs
