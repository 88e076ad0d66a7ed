// `shufflefs show APP/SHUFFLE[/PARTITION]`: where the bytes of a shuffle are, how unevenly they
// lie, and why what is not merged is not.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <iostream>

#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/json_read.h"
#include "main/shuffle_page.h"

namespace shufflefs {
namespace {

namespace json = boost::json;
constexpr std::size_t kMostRows = 20;

struct ShowOptions {
  ClientOptions client;
  std::string name;
  bool all = false;
  [[nodiscard]] std::size_t most_rows() const { return all ? SIZE_MAX : kMostRows; }
};

// The pages' arrays one after the other, in the object of the first page.
Result<json::object> fetch_whole(const HostPort& address, const std::string& path,
                                 const char* array) {
  json::object whole;
  TRY(fetch_pages(address, path, [&](const json::value& page) {
    const auto* const object = page.if_object();
    if (object == nullptr) return;
    if (whole.empty()) {
      whole = *object;
      if (!whole[array].is_array()) whole[array] = json::array();
      return;
    }
    if (const auto* const more = json_read::member(page, array).if_array())
      for (const json::value& item : *more) whole[array].as_array().push_back(item);
  }));
  whole.erase("next");
  return whole;
}

Status show_partition(const HostPort& address, const ShowOptions& options,
                      const ShufflePath& path) {
  TRY_ASSIGN(json::object answer,
             fetch_whole(address, "/api/v1/partitions/" + options.name, "list"));
  if (options.client.json) {
    print_json(answer);
    return ok();
  }
  const json::value value = std::move(answer);
  std::cout << partition_page(to_string(path.shuffle), partition_view(value),
                              json_read::list(value, "list", block_view), options.most_rows());
  return ok();
}

Status show_shuffle(const HostPort& address, const ShowOptions& options) {
  TRY_ASSIGN(json::value shuffle,
             api_call(net::HttpMethod::kGet, address, "/api/v1/shuffles/" + options.name,
                      std::chrono::seconds(20)));
  TRY_ASSIGN(json::object answer,
             fetch_whole(address, "/api/v1/partitions/" + options.name, "partitions"));
  const json::value partitions = std::move(answer);
  if (options.client.json) {
    print_json(json::object{{"shuffle", std::move(shuffle)},
                            {"partitions", json_read::member(partitions, "partitions")},
                            {"may_miss", json_read::member(partitions, "may_miss")}});
    return ok();
  }
  std::cout << shuffle_page(shuffle_view(shuffle),
                            json_read::list(partitions, "partitions", partition_view),
                            options.most_rows(), Terminal::of(1));
  for (const std::string& reason : json_read::texts(partitions, "may_miss"))
    std::cout << fmt::format("partitions may be missing: {}\n", reason);
  return ok();
}

int run_show(const ShowOptions& options) {
  const auto address = api_address(options.client.http);
  if (!address) return complain(address.error().message, kExitUsage);
  const auto path = parse_shuffle_path(options.name);
  if (!path) return complain(path.error().message, kExitUsage);
  const Status shown =
      path->partition ? show_partition(*address, options, *path) : show_shuffle(*address, options);
  return shown ? kExitOk : complain(shown.error().message, kExitFailure);
}

}  // namespace

void add_show_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* const command = add_client_command(
      app, "show", "Show one shuffle and its skew, or one partition and its blocks",
      options->client);
  command->add_option("name", options->name, "What to show: APP/SHUFFLE or APP/SHUFFLE/PARTITION")
      ->required()
      ->type_name("APP/SHUFFLE[/PARTITION]");
  command->add_flag("--all", options->all, "List all partitions or blocks, not only 20");
  command->footer(
      "Exit codes: 0 it is shown; 1 the node does not answer, or no node knows it; 2 usage.\n\n"
      "  shufflefs show wordcount/0 --json | jq '[.partitions[].bytes] | max'");
  command->callback([options, &context] { context.exit_code = run_show(*options); });
}

}  // namespace shufflefs
