#include "fs/client_report.h"

#include <fmt/format.h>

#include <vector>

#include "base/parse.h"

namespace shufflefs::fs {
namespace {

// More than a task can have read: a text from anybody must not wrap a counter.
constexpr uint64_t kMaxCounted = uint64_t{1} << 50U;

struct Kind {
  std::string_view word;
  std::string_view metric;
  std::string_view help;
};

constexpr Kind kKinds[] = {
    {"merged", "read_merged", "that reducers on this node read merged"},
    {"corrupt", "fallback_corrupt", "read at their origin: merged copy damaged"},
    {"short", "fallback_short", "read at their origin: merged file too short"},
    {"unreadable", "fallback_unreadable", "read at their origin: merged file unreadable"},
    {"unmerged", "fallback_unmerged", "read at their origin: not merged"},
};

}  // namespace

ClientReport::ClientReport(Metrics& metrics) {
  for (const Kind& kind : kKinds) {
    const auto counter = [&](std::string_view unit, std::string_view what) -> Counter& {
      return metrics.counter(fmt::format("shufflefs_client_{}_{}_total", kind.metric, unit),
                             fmt::format("{} {}.", what, kind.help));
    };
    kinds_.emplace(kind.word, Counters{counter("blocks", "Blocks"), counter("bytes", "Bytes")});
  }
}

Status ClientReport::take(std::string_view text) {
  const auto bad = [] {
    return make_error(Code::kInvalidArgument, "not a report of the Spark client");
  };
  if (text.size() > kMaxBytes || !text.ends_with('\n')) return bad();
  text.remove_suffix(1);
  const std::vector<std::string_view> words = split(text, ' ');
  if (words.size() % 3 != 0) return bad();
  std::vector<std::pair<Counter*, uint64_t>> additions;
  for (std::size_t i = 0; i < words.size(); i += 3) {
    const auto kind = kinds_.find(words[i]);
    const auto blocks = parse_decimal(words[i + 1], kMaxCounted);
    const auto bytes = parse_decimal(words[i + 2], kMaxCounted);
    if (kind == kinds_.end() || !blocks || !bytes) return bad();
    additions.emplace_back(&kind->second.blocks, *blocks);
    additions.emplace_back(&kind->second.bytes, *bytes);
  }
  for (const auto& [counter, n] : additions) counter->add(n);
  return ok();
}

}  // namespace shufflefs::fs
