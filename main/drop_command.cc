// `shufflefs drop <app>[/<shuffle>]`: every node gives up what it has of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/client_options.h"
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

int dropped(const ClientOptions& client, const std::string& name, bool was_there) {
  if (client.json)
    print_json(boost::json::object{{"name", name}, {"dropped", was_there}});
  else if (was_there)
    std::cout << fmt::format("{}: dropped on all nodes\n", name);
  else
    std::cout << fmt::format("{}: no node knows it, nothing to drop\n", name);
  return kExitOk;
}

int run_drop(const ClientOptions& client, const std::string& name) {
  const auto address = api_address(client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  if (const Status status = check_name(name); !status)
    return complain(status.error().message, kExitUsage);
  const auto answer = api_call(net::HttpMethod::kDelete, *address, "/api/v1/shuffles/" + name,
                               std::chrono::seconds(30));
  if (!answer && answer.error().code == Code::kNotFound) return dropped(client, name, false);
  if (!answer) return complain(answer.error().message, kExitFailure);
  return dropped(client, name, true);
}

}  // namespace

void add_drop_command(CLI::App& app, CommandContext& context) {
  struct Options {
    ClientOptions client;
    std::string name;
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command = add_client_command(
      app, "drop", "Drop an application's shuffles, or one of them, on all nodes", options->client);
  command->add_option("name", options->name, "What to drop: APP or APP/SHUFFLE")
      ->required()
      ->type_name("APP[/SHUFFLE]");
  command->footer(
      "It asks nothing. The same as rm -r MOUNT/shuffles/APP[/SHUFFLE].\n"
      "Exit codes: 0 dropped, or there was nothing; 1 the node does not answer or refuses; 2 "
      "usage.");
  command->callback(
      [options, &context] { context.exit_code = run_drop(options->client, options->name); });
}

}  // namespace shufflefs
