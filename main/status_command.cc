// `shufflefs status [--json]`: one node's view of itself, its peers and its shuffles.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/status_page.h"

namespace shufflefs {
namespace {

int run_status(const ClientOptions& client) {
  const auto address = api_address(client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto answer =
      api_call(net::HttpMethod::kGet, *address, "/api/v1/status", std::chrono::seconds(10));
  if (!answer) return complain(answer.error().message, kExitFailure);
  if (client.json)
    print_json(*answer);
  else
    std::cout << status_page(status_view(*answer), Terminal::of(1));
  return kExitOk;
}

}  // namespace

void add_status_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<ClientOptions>();
  CLI::App* const command = add_client_command(
      app, "status", "Show a node: its peers, disks, memory, and how far its shuffles are",
      *options);
  command->footer(
      "Exit codes: 0 it answered; 1 it did not; 2 usage.\n\n  shufflefs status --json | jq "
      "'.peers[] | select(.up | not)'");
  command->callback([options, &context] { context.exit_code = run_status(*options); });
}

}  // namespace shufflefs
