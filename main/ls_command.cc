// `shufflefs ls [APP]`: all shuffles of the cluster, with sizes and how far merging is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/partition_view.h"
#include "main/shuffle_page.h"

namespace shufflefs {
namespace {

struct LsOptions {
  ClientOptions client;
  std::string app;
  bool names = false;
};

int run_ls(const LsOptions& options) {
  const auto address = api_address(options.client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  if (const auto app = merge::AppId::parse(options.app); !options.app.empty() && !app)
    return complain(app.error().message, kExitUsage);
  auto names = fetch_shuffle_names(*address);
  if (!names) return complain(names.error().message, kExitFailure);
  std::erase_if(*names, [&](const merge::ShuffleKey& key) {
    return !options.app.empty() && key.app.str() != options.app;
  });
  if (options.names) {
    for (const merge::ShuffleKey& key : *names) std::cout << to_string(key) << "\n";
    return kExitOk;
  }
  boost::json::array list;
  std::vector<ShuffleView> views;
  for (const merge::ShuffleKey& key : *names) {
    auto answer = api_call(net::HttpMethod::kGet, *address, "/api/v1/shuffles/" + to_string(key),
                           std::chrono::seconds(20));
    if (!answer && answer.error().code == Code::kNotFound) continue;  // it went meanwhile
    if (!answer) return complain(answer.error().message, kExitFailure);
    views.push_back(shuffle_view(*answer));
    list.push_back(std::move(*answer));
  }
  if (options.client.json)
    print_json(boost::json::object{{"shuffles", std::move(list)}});
  else
    std::cout << shuffle_list_page(views, Terminal::of(1));
  return kExitOk;
}

}  // namespace

void add_ls_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<LsOptions>();
  CLI::App* const command = add_client_command(
      app, "ls", "List all shuffles of the cluster: sizes and how much is merged", options->client);
  command->add_option("app", options->app, "Only this application's")->type_name("APP");
  command->add_flag("--names", options->names, "Print only the names, one a line");
  command->footer(
      "Exit codes: 0 it answered; 1 it did not; 2 usage.\n\n"
      "  shufflefs ls --json | jq '.shuffles[] | select(.maps_given_up > 0) | .app'");
  command->callback([options, &context] { context.exit_code = run_ls(*options); });
}

}  // namespace shufflefs
