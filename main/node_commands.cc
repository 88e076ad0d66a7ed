// The commands about one node: `status`, `log-level`, `forget`, `drain`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <iostream>
#include <thread>

#include "base/log.h"
#include "base/parse.h"
#include "main/client.h"
#include "main/commands.h"
#include "main/pages.h"
#include "merge/ids.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
constexpr auto kNodeTimeout = std::chrono::seconds(10);

Result<int> run_status(const HostPort& node, const ClientOptions& options) {
  TRY_ASSIGN(const json::value status,
             api_call(net::HttpMethod::kGet, node, "/api/v1/status", kNodeTimeout));
  if (options.json)
    print_json(status);
  else
    std::cout << status_page(status, Terminal::of(1));
  return kExitOk;
}

Result<int> run_log_level(const HostPort& node, const NamedOptions& options) {
  if (!options.name.empty() && !parse_log_level(options.name)) {
    return make_error(Code::kInvalidArgument,
                      "'" + options.name + "' is not a log level: debug, info, warning, error");
  }
  const std::string path = "/api/v1/log-level";
  TRY_ASSIGN(const json::value answer,
             options.name.empty() ? api_call(net::HttpMethod::kGet, node, path, kNodeTimeout)
                                  : api_call(net::HttpMethod::kPost, node,
                                             path + "?level=" + options.name, kNodeTimeout));
  if (options.json)
    print_json(answer);
  else
    std::cout << View(answer).text("level") << "\n";
  return kExitOk;
}

Result<int> run_forget(const HostPort& node, const NamedOptions& options) {
  TRY(merge::NodeName::parse(options.name));
  TRY(api_call(net::HttpMethod::kDelete, node, "/api/v1/members/" + options.name, kNodeTimeout));
  if (options.json) {
    print_json(json::object{{"node", options.name}, {"forgotten", true}});
  } else {
    std::cout << fmt::format("{}: no member any more; all nodes hear of it within seconds\n",
                             options.name);
  }
  return kExitOk;
}

struct DrainOptions : ClientOptions {
  std::string timeout = "10m";
  bool stop = false;
  bool no_wait = false;
};

// What would be lost with the node although nothing is under way any more.
std::string remains(View status) {
  std::string text;
  if (const uint64_t blocks = status.number("blocks_left_home"); blocks > 0) {
    text += fmt::format("  {} blocks, {}, are above push.max-block-bytes and only here\n", blocks,
                        format_bytes(status.number("bytes_left_home")));
  }
  for (const View entry : status.list("given_up")) {
    text += fmt::format("  {} blocks, {}: {}\n", entry.number("blocks"),
                        format_bytes(entry.number("bytes")), entry.text("reason"));
  }
  return text;
}

int print_drain(View status, const DrainOptions& options, int exit_code) {
  if (options.json) {
    print_json(status.value());
  } else if (status.flag("safe_to_stop")) {
    std::cout << fmt::format(
        "drained: all of {} map outputs are on other nodes too; it is safe to stop this one\n",
        status.number("map_outputs"));
  } else if (!status.flag("draining")) {
    std::cout << "not draining: the node takes pushes\n";
  } else {
    std::cout << fmt::format("not safe to stop: {} map outputs and chunks are under way\n{}",
                             status.number("waiting"), remains(status));
  }
  return exit_code;
}

Result<int> run_drain(const HostPort& node, const DrainOptions& options) {
  constexpr const char* kPath = "/api/v1/drain";
  TRY_ASSIGN(const auto timeout, duration_option("--timeout", options.timeout));
  const auto first = options.stop ? net::HttpMethod::kDelete : net::HttpMethod::kPost;
  TRY_ASSIGN(json::value answer, api_call(first, node, kPath, kNodeTimeout));
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!options.stop && !options.no_wait) {
    const View status = answer;
    if (status.flag("safe_to_stop")) break;
    if (status.number("waiting") == 0) return print_drain(status, options, kExitImpossible);
    if (std::chrono::steady_clock::now() >= deadline)
      return print_drain(status, options, kExitTimeout);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    TRY_ASSIGN(answer, api_call(net::HttpMethod::kGet, node, kPath, kNodeTimeout));
  }
  return print_drain(answer, options, kExitOk);
}

}  // namespace

void add_status_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "status", "Show a node: its peers, disks, memory, and how far its shuffles are",
      run_status);
  command->footer(
      "Exit codes: 0 it answered; 1 it did not; 2 usage.\n\n"
      "  shufflefs status --json | jq '.peers[] | select(.up | not)'");
}

void add_log_level_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] =
      add_client_command(app, context, "log-level",
                         "Print how much a node logs, or change it while it runs", run_log_level);
  command->add_option("level", options->name, "debug, info, warning or error")->type_name("LEVEL");
  command->footer(
      "It lasts until the node is stopped, also when its worker dies.\n"
      "Exit codes: 0 done; 1 the node does not answer; 2 usage.");
}

void add_forget_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "forget", "Take a node that is down for good out of the cluster", run_forget);
  command->add_option("node", options->name, "The node's name")->required()->type_name("NODE");
  command->footer(
      "Nobody waits any more for what only that node has. Any node that is up may be asked.\n"
      "A node that is up is not forgotten: drain and stop it, then it leaves by itself.\n"
      "Exit codes: 0 forgotten; 1 it is up, or no member, or the asked node does not answer; 2 "
      "usage.");
}

void add_drain_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "drain", "Prepare a node for being stopped for good, and wait until it may be",
      run_drain);
  command->add_option("--timeout", options->timeout, "How long to wait (default: 10m)")
      ->type_name("DURATION");
  command->add_flag("--no-wait", options->no_wait, "Begin, and say how far it is");
  command->add_flag("--stop", options->stop, "End the drain: the node takes pushes again");
  command->footer(
      "The node goes on answering readers. It may be stopped when every block of its map outputs\n"
      "is merged on another node; blocks above push.max-block-bytes never are. A drain ends with\n"
      "--stop, or when the worker is restarted: it is not remembered.\n"
      "Exit codes: 0 safe to stop (or as asked); 1 the node does not answer; 2 usage; 3 something\n"
      "will stay only here; 4 not yet.");
}

}  // namespace shufflefs
