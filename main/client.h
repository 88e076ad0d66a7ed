// What the commands that ask a node have in common: --http and --json, where the node is, its
// answers as JSON, and what becomes of an error.
//
// One thread; blocks up to the timeout. Failure: what net/http_client.h says, and kInvalidArgument
// for what was given wrongly.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/parse.h"
#include "base/result.h"
#include "main/commands.h"
#include "main/views.h"
#include "merge/ids.h"
#include "net/http_message.h"

namespace shufflefs {

struct ClientOptions {
  std::string http;  // empty: as api_address() finds it
  bool json = false;
};

struct NamedOptions : ClientOptions {
  std::string name;  // of what the command is about
};

// A command with --http and --json. `run` gets the node's address and returns the exit code; an
// error is printed, and is kExitUsage if it is kInvalidArgument, else kExitFailure.
CLI::App* add_client_command(CLI::App& app, CommandContext& context, const std::string& name,
                             const std::string& help, ClientOptions& options,
                             std::function<Result<int>(const HostPort&)> run);

template <class Options>
auto add_client_command(CLI::App& app, CommandContext& context, const std::string& name,
                        const std::string& help,
                        Result<int> (*run)(const HostPort&, const Options&)) {
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      add_client_command(app, context, name, help, *options,
                         [options, run](const HostPort& node) { return run(node, *options); });
  return std::pair(command, options);
}

// The value of an option; the error names it.
[[nodiscard]] Result<std::chrono::milliseconds> duration_option(const std::string& name,
                                                                const std::string& text);

// APP/SHUFFLE, or APP/SHUFFLE/PARTITION.
struct ShufflePath {
  merge::ShuffleKey shuffle;
  std::optional<merge::PartitionId> partition;
};
[[nodiscard]] Result<ShufflePath> parse_shuffle_path(const std::string& text);

// A line of JSON on the standard output.
void print_json(const boost::json::value& value);

// The --http flag if it is given, else SHUFFLEFS_HTTP, else http-listen of
// /etc/shufflefs/shufflefs.toml, else 127.0.0.1:7340.
[[nodiscard]] Result<HostPort> api_address(const std::string& flag);

// With the token in the file that SHUFFLEFS_HTTP_TOKEN_FILE names, else http-token-file of
// /etc/shufflefs/shufflefs.toml for the node that it configures. The answer's JSON.
// Its error message and kNotFound for 404, kRefused for other error answers.
[[nodiscard]] Result<boost::json::value> api_call(net::HttpMethod method, const HostPort& address,
                                                  const std::string& path,
                                                  std::chrono::milliseconds timeout);
// The same for what is no JSON, such as /metrics.
[[nodiscard]] Result<std::string> api_text(const HostPort& address, const std::string& path,
                                           std::chrono::milliseconds timeout);

// Follows "next" from page to page: `path` is asked with from=N, and `page` gets each answer.
[[nodiscard]] Status fetch_pages(const HostPort& address, const std::string& path,
                                 const std::function<void(const boost::json::value&)>& page);
// All shuffles that any node knows, in order.
[[nodiscard]] Result<std::vector<merge::ShuffleKey>> fetch_shuffle_names(const HostPort& address);

}  // namespace shufflefs
