// `shufflefs log-level [LEVEL]`: how much a running node logs.
#include <CLI/CLI.hpp>
#include <iostream>

#include "base/log.h"
#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/json_read.h"

namespace shufflefs {
namespace {

int run_log_level(const ClientOptions& client, const std::string& level) {
  const auto address = api_address(client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  if (!level.empty() && !parse_log_level(level))
    return complain("'" + level + "' is not a log level: debug, info, warning, error", kExitUsage);
  const std::string path = "/api/v1/log-level";
  const auto answer =
      level.empty() ? api_call(net::HttpMethod::kGet, *address, path, std::chrono::seconds(10))
                    : api_call(net::HttpMethod::kPost, *address, path + "?level=" + level,
                               std::chrono::seconds(10));
  if (!answer) return complain(answer.error().message, kExitFailure);
  if (client.json)
    print_json(*answer);
  else
    std::cout << json_read::text(*answer, "level") << "\n";
  return kExitOk;
}

}  // namespace

void add_log_level_command(CLI::App& app, CommandContext& context) {
  struct Options {
    ClientOptions client;
    std::string level;
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command = add_client_command(
      app, "log-level", "Print how much a node logs, or change it while it runs", options->client);
  command->add_option("level", options->level, "debug, info, warning or error")->type_name("LEVEL");
  command->footer(
      "It lasts until the node is stopped, also when its worker dies.\n"
      "Exit codes: 0 done; 1 the node does not answer; 2 usage.");
  command->callback(
      [options, &context] { context.exit_code = run_log_level(options->client, options->level); });
}

}  // namespace shufflefs
