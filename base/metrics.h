// Counters and gauges with a name and a line of help, rendered in the Prometheus text format.
//
// Threads: any. Ownership: a Counter& stays valid as long as the Metrics. Cost: one relaxed atomic
// add.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace shufflefs {

class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Metrics {
 public:
  // Made at the first call with a name, the same one afterwards. Names end in _total; units are in
  // the name.
  Counter& counter(const std::string& name, const std::string& help);
  // Evaluated at rendering time, on the rendering thread.
  void gauge(const std::string& name, const std::string& help, std::function<double()> value);
  [[nodiscard]] std::string render() const;
  [[nodiscard]] uint64_t value(const std::string& counter_name) const;  // 0 if there is none

 private:
  struct Entry {
    std::string help;
    std::unique_ptr<Counter> counter;
    std::function<double()> gauge;
  };
  mutable std::mutex mu_;
  std::map<std::string, Entry> entries_;  // GUARDED_BY(mu_)
};

}  // namespace shufflefs
