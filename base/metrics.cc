#include "base/metrics.h"

#include <fmt/format.h>

namespace shufflefs {

Counter& Metrics::counter(const std::string& name, const std::string& help) {
  const std::lock_guard lock(mu_);
  Entry& entry = entries_[name];
  if (!entry.counter) entry = Entry{help, std::make_unique<Counter>(), {}};
  return *entry.counter;
}

void Metrics::gauge(const std::string& name, const std::string& help,
                    std::function<double()> value) {
  const std::lock_guard lock(mu_);
  entries_[name] = Entry{help, nullptr, std::move(value)};
}

std::string Metrics::render() const {
  const std::lock_guard lock(mu_);
  std::string text;
  for (const auto& [name, entry] : entries_) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, entry.help, name,
                        entry.counter ? "counter" : "gauge");
    text += entry.counter ? fmt::format("{} {}\n", name, entry.counter->value())
                          : fmt::format("{} {}\n", name, entry.gauge());
  }
  return text;
}

uint64_t Metrics::value(const std::string& counter_name) const {
  const std::lock_guard lock(mu_);
  const auto it = entries_.find(counter_name);
  return it != entries_.end() && it->second.counter ? it->second.counter->value() : 0;
}

}  // namespace shufflefs
