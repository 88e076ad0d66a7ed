// `shufflefs forget NODE`: a node that is down does not come back, so that nobody waits for it.
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

int run_forget(const ClientOptions& client, const std::string& node) {
  const auto address = api_address(client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  if (const auto name = merge::NodeName::parse(node); !name)
    return complain(name.error().message, kExitUsage);
  const auto answer = api_call(net::HttpMethod::kDelete, *address, "/api/v1/members/" + node,
                               std::chrono::seconds(10));
  if (!answer) return complain(answer.error().message, kExitFailure);
  if (client.json)
    print_json(boost::json::object{{"node", node}, {"forgotten", true}});
  else
    std::cout << fmt::format("{}: no member any more; all nodes hear of it within seconds\n", node);
  return kExitOk;
}

}  // namespace

void add_forget_command(CLI::App& app, CommandContext& context) {
  struct Options {
    ClientOptions client;
    std::string node;
  };
  auto options = std::make_shared<Options>();
  CLI::App* const command = add_client_command(
      app, "forget", "Take a node that is down for good out of the cluster", options->client);
  command->add_option("node", options->node, "The node's name")->required()->type_name("NODE");
  command->footer(
      "What is only on that node is not waited for any more. Any node that is up may be asked.\n"
      "A node that is up is not forgotten: drain and stop it, then it leaves by itself.\n"
      "Exit codes: 0 forgotten; 1 it is up, or no member, or the asked node does not answer; 2 "
      "usage.");
  command->callback(
      [options, &context] { context.exit_code = run_forget(options->client, options->node); });
}

}  // namespace shufflefs
