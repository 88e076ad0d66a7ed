// `shufflefs drop <app>[/<shuffle>]`: every node gives up what it has of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/commands.h"
#include "merge/ids.h"

namespace shufflefs {
namespace {

Status check_name(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    TRY(merge::parse_shuffle_key(name));
  } else {
    TRY(merge::AppId::parse(name));
  }
  return ok();
}

int run_drop(const std::string& http, const std::string& name) {
  const auto address = api_address(http);
  if (!address) return complain(address.error().message, kExitUsage);
  if (const Status status = check_name(name); !status)
    return complain(status.error().message, kExitUsage);
  const auto answer = api_call(net::HttpMethod::kDelete, *address, "/api/v1/shuffles/" + name,
                               std::chrono::seconds(30));
  if (!answer && answer.error().code == Code::kNotFound) {
    std::cout << fmt::format("{}: no node knows it, nothing to drop\n", name);
    return kExitOk;
  }
  if (!answer) return complain(answer.error().message, kExitFailure);
  std::cout << fmt::format("{}: dropped on all nodes\n", name);
  return kExitOk;
}

}  // namespace

void add_drop_command(CLI::App& app, CommandContext& context) {
  struct Options {
    std::string http;
    std::string name;
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      app.add_subcommand("drop", "Drop an application's shuffles, or one of them, on all nodes");
  command->add_option("name", options->name, "What to drop: APP or APP/SHUFFLE")
      ->required()
      ->type_name("APP[/SHUFFLE]");
  command
      ->add_option("--http", options->http,
                   "The node to ask (default: SHUFFLEFS_HTTP, else 127.0.0.1:7340)")
      ->type_name("ADDR:PORT");
  command->footer(
      "It asks nothing. The same as rm -r MOUNT/shuffles/APP[/SHUFFLE].\n"
      "Exit codes: 0 dropped, or there was nothing; 1 the node does not answer or refuses; 2 "
      "usage.");
  command->callback(
      [options, &context] { context.exit_code = run_drop(options->http, options->name); });
}

}  // namespace shufflefs
