#include "main/top_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/parse.h"
#include "main/status_page.h"

namespace shufflefs {
namespace {

using Rows = std::vector<std::vector<std::string>>;

struct Counted {
  std::string_view label;
  std::string_view metric;
  bool is_bytes;
};

constexpr std::array kCounted = {
    Counted{"commits", "shufflefs_commits_total", false},
    Counted{"pushed", "shufflefs_push_bytes_total", true},
    Counted{"merged", "shufflefs_merge_bytes_total", true},
    Counted{"read, merged", "shufflefs_read_merged_bytes_total", true},
    Counted{"read, original", "shufflefs_read_origin_bytes_total", true},
    Counted{"fallbacks", "shufflefs_read_fallback_blocks_total", false},
    Counted{"given up", "shufflefs_push_given_up_chunks_total", false},
    Counted{"Spark blocks", "shufflefs_spark_chunks_total", false},
    Counted{"Spark bytes", "shufflefs_spark_chunk_bytes_total", true},
    Counted{"opens, passed", "shufflefs_passthrough_opens_total", false},
    Counted{"opens, ordinary", "shufflefs_ordinary_opens_total", false},
};

std::string amount(double value, bool is_bytes) {
  if (is_bytes) return format_bytes(static_cast<uint64_t>(value));
  return value < 10 && value != static_cast<double>(static_cast<uint64_t>(value))
             ? fmt::format("{:.1f}", value)
             : fmt::format("{:.0f}", value);
}

// Two rates in a row, so that they fit a terminal of 24 lines.
std::string rates_text(const std::vector<Rate>& rates) {
  Rows rows;
  const std::size_t half = (rates.size() + 1) / 2;
  for (std::size_t i = 0; i < half; ++i) {
    std::vector<std::string> row;
    for (const std::size_t at : {i, i + half}) {
      if (at >= rates.size()) continue;
      const Rate& rate = rates[at];
      row.insert(row.end(), {std::string(rate.label), amount(rate.per_second, rate.is_bytes) + "/s",
                             amount(rate.total, rate.is_bytes) + " in all"});
    }
    rows.push_back(std::move(row));
  }
  return align(rows);
}

std::string memory_text(const TopSample& now, const Terminal& terminal) {
  const StatusView& status = now.status;
  return fmt::format(
      "{} {} {} of {}\n", terminal.paint(Colour::kBold, "Memory"),
      terminal.bar(status.memory_used_bytes, std::max<uint64_t>(status.memory_budget_bytes, 1)),
      format_bytes(status.memory_used_bytes), format_bytes(status.memory_budget_bytes));
}

std::string disks_text(const StatusView& status, const Terminal& terminal) {
  Rows rows;
  for (const DiskView& disk : status.disks) {
    const uint64_t used = disk.total_bytes - std::min(disk.free_bytes, disk.total_bytes);
    rows.push_back({disk.name, terminal.bar(used, std::max<uint64_t>(disk.total_bytes, 1)),
                    format_bytes(disk.free_bytes) + " free", disk.path});
  }
  return terminal.paint(Colour::kBold, "Disks") + "\n" + align(rows);
}

// Those that are down first, then the slowest.
std::string peers_text(const StatusView& status, const Terminal& terminal) {
  std::vector<PeerView> peers = status.peers;
  std::erase_if(peers, &PeerView::self);
  std::ranges::sort(peers, [](const PeerView& a, const PeerView& b) {
    return std::tuple(a.up, -a.round_trip_ms, a.name) < std::tuple(b.up, -b.round_trip_ms, b.name);
  });
  Rows rows;
  for (const PeerView& peer : peers) {
    rows.push_back(
        {peer.name,
         peer.up ? terminal.paint(Colour::kGreen, "up") : terminal.paint(Colour::kRed, "down"),
         peer.up ? fmt::format("{:.1f} ms", peer.round_trip_ms) : peer.reason});
  }
  const std::string head = terminal.paint(Colour::kBold, "Peers, the slowest first") + "\n";
  return head + (rows.empty() ? "  none\n" : align(rows));
}

std::string shuffles_text(const StatusView& status, const Terminal& terminal) {
  // What is under way first, then the largest.
  std::vector<ShuffleView> shuffles = status.shuffles;
  const auto rank = [](const ShuffleView& shuffle) {
    const bool is_done = shuffle.maps_settled >= shuffle.maps;
    return std::tuple(is_done, UINT64_MAX - shuffle.bytes, shuffle.app, shuffle.shuffle);
  };
  std::ranges::sort(shuffles, {}, rank);
  Rows rows;
  std::string remarks;
  for (const ShuffleView& shuffle : shuffles) {
    rows.push_back(
        {fmt::format("{}/{}", shuffle.app, shuffle.shuffle),
         terminal.bar(shuffle.maps_settled, shuffle.maps),
         fmt::format("{} of {} maps merged", shuffle.maps_settled, shuffle.maps),
         fmt::format("{} of {}", format_bytes(shuffle.merged_bytes), format_bytes(shuffle.bytes))});
    remarks += shuffle_remarks(shuffle, terminal);
  }
  const std::string head = terminal.paint(Colour::kBold, "Shuffles of the cluster") + "\n";
  return head + (rows.empty() ? "  none yet\n" : align(rows)) + remarks;
}

// Cut to the terminal, escape sequences not counted: a line that wraps would move all below it.
std::string cut_line(std::string_view line, std::size_t columns) {
  std::string cut;
  std::size_t width = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      const std::size_t end = std::min(line.find('m', i), line.size() - 1);
      cut += line.substr(i, end - i + 1);
      i = end;
    } else if (width < columns) {
      cut += line[i];
      // The bytes of one character count once.
      if (i + 1 == line.size() || (static_cast<unsigned char>(line[i + 1]) & 0xC0U) != 0x80U)
        ++width;
    }
  }
  return cut;
}

}  // namespace

MetricSums::MetricSums(std::string_view text) {
  for (const std::string_view line : split(text, '\n')) {
    if (line.empty() || line.front() == '#') continue;
    const std::size_t name_end = line.find_first_of("{ ");
    const std::size_t value_at = line.find('{') == name_end && name_end != std::string_view::npos
                                     ? line.find(' ', std::min(line.rfind('}'), line.size()))
                                     : name_end;
    if (name_end == std::string_view::npos || value_at == std::string_view::npos) continue;
    const std::string_view value = line.substr(value_at + 1);
    double number = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), number).ec == std::errc())
      sums_[std::string(line.substr(0, name_end))] += number;
  }
}

double MetricSums::of(const std::string& name) const {
  const auto found = sums_.find(name);
  return found == sums_.end() ? 0.0 : found->second;
}

std::vector<Rate> rates_between(const TopSample& before, const TopSample& now) {
  const double seconds = std::chrono::duration<double>(now.when - before.when).count();
  const bool same_process = now.status.uptime_s >= before.status.uptime_s && seconds > 0;
  std::vector<Rate> rates;
  for (const Counted& counted : kCounted) {
    const std::string name(counted.metric);
    if (!now.metrics.has(name)) continue;
    const double total = now.metrics.of(name);
    const double more = total - before.metrics.of(name);
    rates.push_back(
        {counted.label, same_process && more > 0 ? more / seconds : 0.0, total, counted.is_bytes});
  }
  return rates;
}

std::string top_page(const TopSample& before, const TopSample& now, const Terminal& terminal,
                     std::size_t rows, std::size_t columns) {
  const std::string whole = fmt::format("{} (shufflefs {}), up for {:.0f} s, mounted at {}\n",
                                        terminal.paint(Colour::kBold, now.status.node),
                                        now.status.version, now.status.uptime_s, now.status.mount) +
                            memory_text(now, terminal) + rates_text(rates_between(before, now)) +
                            peers_text(now.status, terminal) + shuffles_text(now.status, terminal) +
                            disks_text(now.status, terminal);
  std::vector<std::string_view> lines = split(whole, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (rows > 0 && i + 1 == rows && lines.size() > rows) {
      text += fmt::format("... {} more lines: 'shufflefs status' shows them\n", lines.size() - i);
      break;
    }
    text += columns == 0 ? std::string(lines[i]) : cut_line(lines[i], columns);
    text += '\n';
  }
  return text;
}

}  // namespace shufflefs
