// `shufflefs drain`: prepares a node for being stopped for good. It takes no more pushes, and what
// exists only on it is brought to other nodes; the command waits until the node may be stopped.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <thread>

#include "base/parse.h"
#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/json_read.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
constexpr auto kDeadline = std::chrono::seconds(10);
constexpr auto kPath = "/api/v1/drain";

struct DrainOptions {
  std::string http;
  std::string timeout = "10m";
  bool stop = false;
  bool no_wait = false;
  bool as_json = false;
};

uint64_t count(const json::value& status, std::string_view name) {
  return status.at(name).to_number<uint64_t>();
}

// What would be lost with the node although nothing is under way any more.
std::string remains(const json::value& status) {
  std::string text;
  if (const uint64_t blocks = count(status, "blocks_left_home"); blocks > 0) {
    text += fmt::format("  {} blocks, {}, are above push.max-block-bytes and only here\n", blocks,
                        format_bytes(count(status, "bytes_left_home")));
  }
  for (const json::value& entry : status.at("given_up").as_array()) {
    text += fmt::format("  {} blocks, {}: {}\n", count(entry, "blocks"),
                        format_bytes(count(entry, "bytes")), json_read::text(entry, "reason"));
  }
  return text;
}

int tell(const json::value& status, const DrainOptions& options, int exit_code) {
  if (options.as_json) {
    print_json(status);
  } else if (status.at("safe_to_stop").as_bool()) {
    std::cout << fmt::format(
        "drained: all of {} map outputs are on other nodes too; it is safe to "
        "stop this one\n",
        count(status, "map_outputs"));
  } else if (!status.at("draining").as_bool()) {
    std::cout << "not draining: the node takes pushes\n";
  } else {
    std::cout << fmt::format("not safe to stop: {} map outputs and chunks are under way\n{}",
                             count(status, "waiting"), remains(status));
  }
  return exit_code;
}

int run_drain(const DrainOptions& options) {
  const auto address = api_address(options.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto patience = parse_duration(options.timeout);
  if (!patience) return complain("--timeout: " + patience.error().message, kExitUsage);
  auto status = api_call(options.stop ? net::HttpMethod::kDelete : net::HttpMethod::kPost, *address,
                         kPath, kDeadline);
  const auto deadline = std::chrono::steady_clock::now() + *patience;
  while (status && !options.stop && !options.no_wait) {
    if (status->at("safe_to_stop").as_bool()) break;
    if (count(*status, "waiting") == 0) return tell(*status, options, kExitImpossible);
    if (std::chrono::steady_clock::now() >= deadline) return tell(*status, options, kExitTimeout);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    status = api_call(net::HttpMethod::kGet, *address, kPath, kDeadline);
  }
  if (!status) return complain(status.error().message, kExitFailure);
  return tell(*status, options, kExitOk);
}

}  // namespace

void add_drain_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<DrainOptions>();
  CLI::App* const command = app.add_subcommand(
      "drain", "Prepare a node for being stopped for good, and wait until it may be");
  command
      ->add_option("--http", options->http,
                   "The node to drain (default: SHUFFLEFS_HTTP, else 127.0.0.1:7340)")
      ->type_name("ADDR:PORT");
  command->add_option("--timeout", options->timeout, "How long to wait (default: 10m)")
      ->type_name("DURATION");
  command->add_flag("--no-wait", options->no_wait, "Begin, and say how far it is");
  command->add_flag("--stop", options->stop, "End the drain: the node takes pushes again");
  command->add_flag("--json", options->as_json, "The answer as JSON");
  command->footer(
      "The node goes on answering readers. It may be stopped when every block of its map outputs\n"
      "is merged on another node; blocks above push.max-block-bytes never are. A drain ends with\n"
      "--stop, or when the worker is restarted: it is not remembered.\n"
      "Exit codes: 0 safe to stop (or as asked); 1 the node does not answer; 2 usage; 3 something\n"
      "will stay only here; 4 not yet.");
  command->callback([options, &context] { context.exit_code = run_drain(*options); });
}

}  // namespace shufflefs
