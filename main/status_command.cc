// `shufflefs status [--json]`: one node's view of itself, its peers and its shuffles.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/commands.h"
#include "main/status_page.h"

namespace shufflefs {
namespace {

int run_status(const std::string& http, bool as_json) {
  const auto address = api_address(http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto answer =
      api_call(net::HttpMethod::kGet, *address, "/api/v1/status", std::chrono::seconds(10));
  if (!answer) return complain(answer.error().message, kExitFailure);
  if (as_json)
    std::cout << boost::json::serialize(*answer) << "\n";
  else
    std::cout << status_page(status_view(*answer), Terminal::of(1));
  return kExitOk;
}

}  // namespace

void add_status_command(CLI::App& app, CommandContext& context) {
  struct Options {
    std::string http;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "status", "Show a node: its peers, disks, memory, and how far its shuffles are");
  command->add_flag("--json", options->json, "Print the node's answer as JSON");
  command
      ->add_option("--http", options->http,
                   "The node to ask (default: SHUFFLEFS_HTTP, else 127.0.0.1:7340)")
      ->type_name("ADDR:PORT");
  command->footer(
      "Exit codes: 0 it answered; 1 it did not; 2 usage.\n\n  shufflefs status --json | jq "
      "'.peers[] | select(.up | not)'");
  command->callback(
      [options, &context] { context.exit_code = run_status(options->http, options->json); });
}

}  // namespace shufflefs
