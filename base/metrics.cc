#include "base/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>

#include "base/escape.h"

namespace shufflefs {
namespace {

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

// {label="value",le="0.1"}, without what is empty.
std::string labels_text(const std::string& label, const std::string& value,
                        const std::string& bound = {}) {
  std::string text;
  if (!label.empty()) text = fmt::format("{}=\"{}\"", label, metrics_label(value));
  if (!bound.empty()) text += fmt::format("{}le=\"{}\"", text.empty() ? "" : ",", bound);
  return text.empty() ? text : "{" + text + "}";
}

void render_histogram(std::string& text, const std::string& name, const std::string& label,
                      const std::string& value, const Histogram& histogram) {
  const auto buckets = histogram.buckets();
  uint64_t below = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    below += buckets[i];
    const std::string bound =
        i < Histogram::kBounds.size()
            ? number_text(static_cast<double>(Histogram::kBounds[i].count()) / 1e6)
            : "+Inf";
    text += fmt::format("{}_bucket{} {}\n", name, labels_text(label, value, bound), below);
  }
  const std::string labels = labels_text(label, value);
  text += fmt::format("{}_sum{} {}\n", name, labels, number_text(histogram.sum_seconds()));
  text += fmt::format("{}_count{} {}\n", name, labels, below);
}

std::function<Metrics::Samples()> one_sample(std::function<double()> value) {
  return [value = std::move(value)] { return Metrics::Samples{{"", value()}}; };
}

}  // namespace

std::array<uint64_t, Histogram::kBounds.size() + 1> Histogram::buckets() const {
  std::array<uint64_t, kBounds.size() + 1> counts{};
  for (std::size_t i = 0; i < counts.size(); ++i)
    counts[i] = buckets_[i].load(std::memory_order_relaxed);
  return counts;
}

uint64_t Histogram::count() const {
  uint64_t sum = 0;
  for (const uint64_t bucket : buckets()) sum += bucket;
  return sum;
}

Metrics::Family& Metrics::family(const std::string& name, const std::string& help,
                                 const std::string& type, const std::string& label) {
  const auto [it, is_new] = families_.try_emplace(name);
  Family& family = it->second;
  if (is_new) {
    family.help = help;
    family.type = type;
    family.label = label;
  } else if (family.type != type || family.label != label) {
    throw std::logic_error(fmt::format("metric {} is registered as two different things", name));
  }
  return family;
}

Labelled<Counter>& Metrics::counters(const std::string& name, const std::string& help,
                                     const std::string& label) {
  const MutexLock lock(mu_);
  Family& found = family(name, help, "counter", label);
  if (!found.counters) found.counters = std::make_unique<Labelled<Counter>>();
  return *found.counters;
}

Counter& Metrics::counter(const std::string& name, const std::string& help) {
  return counters(name, help, "").with("");
}

Labelled<Histogram>& Metrics::histograms(const std::string& name, const std::string& help,
                                         const std::string& label) {
  const MutexLock lock(mu_);
  Family& found = family(name, help, "histogram", label);
  if (!found.histograms) found.histograms = std::make_unique<Labelled<Histogram>>();
  return *found.histograms;
}

Histogram& Metrics::histogram(const std::string& name, const std::string& help) {
  return histograms(name, help, "").with("");
}

void Metrics::add_samples(const std::string& name, const std::string& help, const std::string& type,
                          const std::string& label, std::function<Samples()> samples) {
  const MutexLock lock(mu_);
  family(name, help, type, label).samples = std::move(samples);
}

void Metrics::gauge(const std::string& name, const std::string& help,
                    std::function<double()> value) {
  add_samples(name, help, "gauge", "", one_sample(std::move(value)));
}

void Metrics::gauges(const std::string& name, const std::string& help, const std::string& label,
                     std::function<Samples()> samples) {
  add_samples(name, help, "gauge", label, std::move(samples));
}

void Metrics::counter_from(const std::string& name, const std::string& help,
                           std::function<double()> value) {
  add_samples(name, help, "counter", "", one_sample(std::move(value)));
}

void Metrics::counters_from(const std::string& name, const std::string& help,
                            const std::string& label, std::function<Samples()> samples) {
  add_samples(name, help, "counter", label, std::move(samples));
}

std::string Metrics::render() const {
  const MutexLock lock(mu_);
  std::string text;
  for (const auto& [name, family] : families_) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, metrics_help(family.help), name,
                        family.type);
    if (family.samples) {
      for (const auto& [value, number] : family.samples())
        text +=
            fmt::format("{}{} {}\n", name, labels_text(family.label, value), number_text(number));
    }
    if (family.counters) {
      for (const auto& [value, counter] : family.counters->all())
        text += fmt::format("{}{} {}\n", name, labels_text(family.label, value), counter->value());
    }
    if (family.histograms) {
      for (const auto& [value, histogram] : family.histograms->all())
        render_histogram(text, name, family.label, value, *histogram);
    }
  }
  return text;
}

uint64_t Metrics::value(const std::string& counter_name) const {
  const MutexLock lock(mu_);
  const auto it = families_.find(counter_name);
  if (it == families_.end() || !it->second.counters) return 0;
  uint64_t sum = 0;
  for (const auto& [value, counter] : it->second.counters->all()) sum += counter->value();
  return sum;
}

uint64_t Metrics::value(const std::string& counter_name, const std::string& label_value) const {
  const MutexLock lock(mu_);
  const auto it = families_.find(counter_name);
  if (it == families_.end() || !it->second.counters) return 0;
  for (const auto& [value, counter] : it->second.counters->all())
    if (value == label_value) return counter->value();
  return 0;
}

}  // namespace shufflefs
