#include "main/top.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

#include "base/fd.h"
#include "base/parse.h"
#include "main/client.h"
#include "main/commands.h"
#include "main/pages.h"

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

std::string memory_text(View status, const Terminal& terminal) {
  const View memory = status.at("memory");
  return fmt::format("{} {} {} of {}\n", terminal.paint(Colour::kBold, "Memory"),
                     terminal.bar(memory.number("used_bytes"),
                                  std::max<uint64_t>(memory.number("budget_bytes"), 1)),
                     format_bytes(memory.number("used_bytes")),
                     format_bytes(memory.number("budget_bytes")));
}

std::string top_disks(View status, const Terminal& terminal) {
  Rows rows;
  for (const View disk : status.list("disks")) {
    const uint64_t total = std::max<uint64_t>(disk.number("total_bytes"), 1);
    const uint64_t free = disk.number("free_bytes");
    rows.push_back({disk.text("name"), terminal.bar(total - std::min(free, total), total),
                    format_bytes(free) + " free", disk.text("path")});
  }
  return terminal.paint(Colour::kBold, "Disks") + "\n" + align(rows);
}

// Those that are down first, then the slowest.
std::string top_peers(View status, const Terminal& terminal) {
  std::vector<View> peers = status.list("peers");
  std::erase_if(peers, [](View peer) { return peer.flag("self"); });
  std::ranges::sort(peers, {}, [](View peer) {
    return std::tuple(peer.flag("up"), -peer.real("round_trip_ms"), peer.text("name"));
  });
  Rows rows;
  for (const View peer : peers)
    rows.push_back({peer.text("name"), peer_state(peer, terminal), peer_note(peer)});
  const std::string head = terminal.paint(Colour::kBold, "Peers, the slowest first") + "\n";
  return head + (rows.empty() ? "  none\n" : align(rows));
}

std::string top_shuffles(View status, const Terminal& terminal) {
  // What is under way first, then the largest.
  std::vector<View> shuffles = status.list("shuffles");
  const auto rank = [](View shuffle) {
    const bool is_done = shuffle.number("maps_settled") >= shuffle.number("maps");
    return std::tuple(is_done, UINT64_MAX - shuffle.number("bytes"), shuffle.text("app"),
                      shuffle.number("shuffle"));
  };
  std::ranges::sort(shuffles, {}, rank);
  Rows rows;
  std::string remarks;
  for (const View shuffle : shuffles) {
    rows.push_back({fmt::format("{}/{}", shuffle.text("app"), shuffle.number("shuffle")),
                    terminal.bar(shuffle.number("maps_settled"), shuffle.number("maps")),
                    fmt::format("{} of {} maps merged", shuffle.number("maps_settled"),
                                shuffle.number("maps")),
                    fmt::format("{} of {}", format_bytes(shuffle.number("merged_bytes")),
                                format_bytes(shuffle.number("bytes")))});
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
  const bool same_process =
      View(now.status).real("uptime_s") >= View(before.status).real("uptime_s") && seconds > 0;
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
  const View status = now.status;
  const std::string whole =
      fmt::format("{} (shufflefs {}), up for {:.0f} s, mounted at {}\n",
                  terminal.paint(Colour::kBold, status.text("node")), status.text("version"),
                  status.real("uptime_s"), status.text("mount")) +
      memory_text(status, terminal) + rates_text(rates_between(before, now)) +
      top_peers(status, terminal) + top_shuffles(status, terminal) + top_disks(status, terminal);
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

namespace {

void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n <= 0) return;  // the terminal is gone; the next read of a key says so
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// A full-screen view that is drawn again and again without flicker: every line is written over the
// old one. The former screen comes back at the end, also after Ctrl-C.
class LiveScreen {
 public:
  // REQUIRES: the standard input and output are a terminal.
  LiveScreen() {
    sigset_t wanted;
    ::sigemptyset(&wanted);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) ::sigaddset(&wanted, signal);
    ::sigprocmask(SIG_BLOCK, &wanted, &mask_before_);
    signals_ = Fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    ::tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put("\x1b[?1049h\x1b[?25l\x1b[2J");  // the other screen, no cursor
  }
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  ~LiveScreen() {
    put("\x1b[?25h\x1b[?1049l");
    ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  }

  struct Size {
    std::size_t rows = 24;
    std::size_t columns = 80;
  };
  // As it is now; the window may be resized at any time.
  [[nodiscard]] static Size size() {
    winsize window{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) return {};
    return {window.ws_row, window.ws_col};
  }

  static void draw(const std::string& text) {
    std::string out = "\x1b[H";
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      if (at > 0) out += "\r\n";
      out.append(text, at, end - at);
      out += "\x1b[K";  // the rest of the old line
      at = end + 1;
    }
    put(out + "\x1b[J");
  }

  // The key; 0 when the time is over, 'q' at a signal to end.
  [[nodiscard]] char wait_for_key(std::chrono::milliseconds timeout) const {
    std::array<pollfd, 2> wanted{pollfd{STDIN_FILENO, POLLIN, 0},
                                 pollfd{signals_.get(), POLLIN, 0}};
    if (::poll(wanted.data(), wanted.size(), static_cast<int>(timeout.count())) <= 0) return 0;
    if ((wanted[1].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      const ssize_t got = ::read(signals_.get(), &info, sizeof info);
      return got == sizeof info && info.ssi_signo != SIGWINCH ? 'q' : ' ';
    }
    char key = 'q';
    return ::read(STDIN_FILENO, &key, 1) == 1 ? key : 'q';
  }

 private:
  termios before_{};
  sigset_t mask_before_{};
  Fd signals_;
};

struct TopOptions : ClientOptions {
  std::string interval = "2s";
  bool once = false;
};

Result<TopSample> look(const HostPort& node) {
  constexpr auto kTimeout = std::chrono::seconds(10);
  TRY_ASSIGN(boost::json::value status,
             api_call(net::HttpMethod::kGet, node, "/api/v1/status", kTimeout));
  TRY_ASSIGN(const std::string metrics, api_text(node, "/metrics", kTimeout));
  return TopSample{std::chrono::steady_clock::now(), std::move(status), MetricSums(metrics)};
}

boost::json::value rates_json(const std::vector<Rate>& rates) {
  boost::json::array list;
  for (const Rate& rate : rates) {
    list.push_back({{"name", std::string(rate.label)},
                    {"unit", rate.is_bytes ? "bytes" : "events"},
                    {"per_second", rate.per_second},
                    {"total", rate.total}});
  }
  return list;
}

Result<int> print_once(const HostPort& node, std::chrono::milliseconds interval, bool json) {
  TRY_ASSIGN(const TopSample before, look(node));
  std::this_thread::sleep_for(interval);
  TRY_ASSIGN(const TopSample now, look(node));
  if (json) {
    print_json(boost::json::object{{"rates", rates_json(rates_between(before, now))},
                                   {"status", now.status}});
  } else {
    std::cout << top_page(before, now, Terminal::of(1), 0, 0);
  }
  return kExitOk;
}

Result<int> show_live(const HostPort& node, std::chrono::milliseconds interval) {
  TRY_ASSIGN(TopSample now, look(node));
  TopSample before = now;
  const Terminal terminal = Terminal::of(1);
  LiveScreen screen;
  std::string problem;
  // The second look comes soon, so that there are rates to see.
  auto next = now.when + std::min(interval, std::chrono::milliseconds(500));
  while (true) {
    const LiveScreen::Size size = LiveScreen::size();
    const std::size_t own_lines = problem.empty() ? 1 : 2;
    LiveScreen::draw(
        problem +
        top_page(before, now, terminal, std::max(size.rows, own_lines + 1) - own_lines,
                 size.columns) +
        terminal.paint(Colour::kDim, fmt::format("q ends; every {} ms", interval.count())));
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(next - std::chrono::steady_clock::now());
    if (left.count() > 0) {
      if (screen.wait_for_key(left) == 'q') return kExitOk;
      continue;
    }
    next = std::chrono::steady_clock::now() + interval;
    auto found = look(node);
    if (found) {
      before = std::exchange(now, std::move(*found));
      problem.clear();
    } else {  // it may come back: the last look stays below the reason
      problem = terminal.paint(Colour::kRed, found.error().message.substr(0, size.columns)) + "\n";
    }
  }
}

Result<int> run_top(const HostPort& node, const TopOptions& options) {
  TRY_ASSIGN(const auto interval, duration_option("--interval", options.interval));
  if (interval < std::chrono::milliseconds(100) || interval > std::chrono::hours(1))
    return make_error(Code::kInvalidArgument, "--interval: 100ms to 1h are possible");
  if (options.once || options.json) return print_once(node, interval, options.json);
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1)
    return make_error(Code::kInvalidArgument, "this is no terminal: --once prints one look");
  return show_live(node, interval);
}

}  // namespace

void add_top_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "top", "Watch a node live: rates, memory, peers, shuffles, disks", run_top);
  command->add_option("--interval", options->interval, "The time between two looks")
      ->type_name("DURATION")
      ->capture_default_str();
  command->add_flag("--once", options->once,
                    "Print once what happened within one interval; --json does so too");
  command->footer(
      "Rates, memory and disks are the node's own; shuffles are those of the cluster. q ends it.\n"
      "Exit codes: 0 done; 1 the node does not answer; 2 usage.");
}

}  // namespace shufflefs
