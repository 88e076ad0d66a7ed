// `shufflefs top`: a node and its shuffles, live.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>
#include <thread>

#include "base/parse.h"
#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/live_screen.h"
#include "main/top_page.h"

namespace shufflefs {
namespace {

struct TopOptions {
  ClientOptions client;
  std::string interval = "2s";
  bool once = false;
};

struct Look {
  TopSample sample;
  boost::json::value status;
};

Result<Look> look(const HostPort& address) {
  constexpr auto kPatience = std::chrono::seconds(10);
  TRY_ASSIGN(boost::json::value status,
             api_call(net::HttpMethod::kGet, address, "/api/v1/status", kPatience));
  TRY_ASSIGN(const std::string metrics, api_text(address, "/metrics", kPatience));
  return Look{{std::chrono::steady_clock::now(), status_view(status), MetricSums(metrics)},
              std::move(status)};
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

int print_once(const HostPort& address, std::chrono::milliseconds interval, bool json) {
  const auto before = look(address);
  if (!before) return complain(before.error().message, kExitFailure);
  std::this_thread::sleep_for(interval);
  const auto now = look(address);
  if (!now) return complain(now.error().message, kExitFailure);
  if (json) {
    print_json(
        boost::json::object{{"rates", rates_json(rates_between(before->sample, now->sample))},
                            {"status", now->status}});
  } else {
    std::cout << top_page(before->sample, now->sample, Terminal::of(1), 0, 0);
  }
  return kExitOk;
}

int show_live(const HostPort& address, std::chrono::milliseconds interval) {
  auto first = look(address);
  if (!first) return complain(first.error().message, kExitFailure);
  const Terminal terminal = Terminal::of(1);
  LiveScreen screen;
  TopSample before = first->sample;
  TopSample now = std::move(first->sample);
  std::string problem;
  // The second look comes soon, so that there are rates to see.
  auto next = now.when + std::min(interval, std::chrono::milliseconds(500));
  while (true) {
    const LiveScreen::Size size = screen.size();
    const std::size_t own_lines = problem.empty() ? 1 : 2;
    screen.draw(problem +
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
    auto found = look(address);
    if (found) {
      before = std::exchange(now, std::move(found->sample));
      problem.clear();
    } else {  // it may come back: the last look stays below the reason
      problem = terminal.paint(Colour::kRed, found.error().message.substr(0, size.columns)) + "\n";
    }
  }
}

int run_top(const TopOptions& options) {
  const auto address = api_address(options.client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto interval = parse_duration(options.interval);
  if (!interval) return complain("--interval: " + interval.error().message, kExitUsage);
  if (*interval < std::chrono::milliseconds(100) || *interval > std::chrono::hours(1))
    return complain("--interval: 100ms to 1h are possible", kExitUsage);
  if (options.once || options.client.json)
    return print_once(*address, *interval, options.client.json);
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1)
    return complain("this is no terminal: --once prints one look", kExitUsage);
  return show_live(*address, *interval);
}

}  // namespace

void add_top_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<TopOptions>();
  CLI::App* const command = add_client_command(
      app, "top", "Watch a node live: rates, memory, peers, shuffles, disks", options->client);
  command->add_option("--interval", options->interval, "The time between two looks")
      ->type_name("DURATION")
      ->capture_default_str();
  command->add_flag("--once", options->once,
                    "Print once what happened within one interval; --json does so too");
  command->footer(
      "Rates, memory and disks are the node's own; shuffles are those of the cluster. q ends it.\n"
      "Exit codes: 0 done; 1 the node does not answer; 2 usage.");
  command->callback([options, &context] { context.exit_code = run_top(*options); });
}

}  // namespace shufflefs
