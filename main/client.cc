#include "main/client.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cstdlib>
#include <iostream>

#include "base/escape.h"
#include "main/config.h"
#include "net/ess/auth/server_auth.h"
#include "net/http_client.h"

namespace shufflefs {
namespace {

constexpr auto kPageTimeout = std::chrono::seconds(20);
// Of the service on this machine.
constexpr const char* kServiceConfig = "/etc/shufflefs/shufflefs.toml";
constexpr const char* kDefaultAddress = "127.0.0.1:7340";

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

std::string own_address() {
  return value_in_file(kServiceConfig, "http-listen").value_or(kDefaultAddress);
}

// The file that the environment names, with what names it. Else, for the node of this machine, that
// of its configuration, if we may read it: others may ask without a token.
std::pair<std::string, std::string> token_file(const HostPort& address) {
  if (std::string file = variable("SHUFFLEFS_HTTP_TOKEN_FILE"); !file.empty())
    return {std::move(file), "SHUFFLEFS_HTTP_TOKEN_FILE"};
  if (to_string(address) != own_address()) return {};
  std::string file = value_in_file(kServiceConfig, "http-token-file").value_or("");
  if (file.empty() || ::access(file.c_str(), R_OK) != 0) return {};
  return {std::move(file), kServiceConfig};
}

// {"error": {"message": ...}}, or the beginning of whatever it was.
std::string message_of(const std::string& text) {
  boost::system::error_code error;
  const boost::json::value body = boost::json::parse(text, error);
  const std::string message = View(body).at("error").text("message");
  return message.empty() ? printable(text_prefix(text, 200)) : message;
}

// An answer with an error status is an error.
Result<std::string> call(net::HttpMethod method, const HostPort& address, const std::string& path,
                         std::chrono::milliseconds timeout) {
  std::string token;
  if (const auto [file, source] = token_file(address); !file.empty()) {
    const auto secret = net::ess::read_secret_file(file);
    if (!secret) return secret.error().with_context(source);
    token = (*secret)->text();
  }
  TRY_ASSIGN(net::HttpAnswer answer, net::http_call(method, address, path, timeout, token));
  if (answer.status < 400) return std::move(answer.body);
  return make_error(
      answer.status == 404 ? Code::kNotFound : Code::kRefused,
      fmt::format("{} answers {}: {}", to_string(address), answer.status, message_of(answer.body)));
}

}  // namespace

CLI::App* add_client_command(CLI::App& app, CommandContext& context, const std::string& name,
                             const std::string& help, ClientOptions& options,
                             std::function<Result<int>(const HostPort&)> run) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->add_flag("--json", options.json, "Print JSON instead of text");
  command
      ->add_option("--http", options.http,
                   "The node to ask (default: SHUFFLEFS_HTTP, else http-listen of "
                   "/etc/shufflefs/shufflefs.toml, else 127.0.0.1:7340)")
      ->type_name("ADDR:PORT");
  command->callback([&context, &options, run = std::move(run)] {
    const auto address = api_address(options.http);
    const Result<int> done = address ? run(*address) : Result<int>(address.error());
    const bool is_usage = !done && done.error().code == Code::kInvalidArgument;
    context.exit_code =
        done ? *done : complain(done.error().message, is_usage ? kExitUsage : kExitFailure);
  });
  return command;
}

Result<std::chrono::milliseconds> duration_option(const std::string& name,
                                                  const std::string& text) {
  auto duration = parse_duration(text);
  if (duration) return *duration;
  return std::move(duration).error().with_context(name);
}

Result<ShufflePath> parse_shuffle_path(const std::string& text) {
  const auto parts = split(text, '/');
  ShufflePath path;
  if (parts.size() != 3) {
    TRY_ASSIGN(path.shuffle, merge::parse_shuffle_key(text));
    return path;
  }
  TRY_ASSIGN(path.shuffle, merge::parse_shuffle_key(text.substr(0, text.rfind('/'))));
  TRY_ASSIGN(path.partition, merge::parse_partition_id(parts[2]));
  return path;
}

void print_json(const boost::json::value& value) { std::cout << json_text(value) << "\n"; }

Result<HostPort> api_address(const std::string& flag) {
  constexpr uint16_t kDefaultPort = 7340;
  const std::string from_environment = variable("SHUFFLEFS_HTTP");
  const std::string text = !flag.empty()               ? flag
                           : !from_environment.empty() ? from_environment
                                                       : own_address();
  auto address = parse_host_port(text, kDefaultPort);
  if (address) return address;
  return std::move(address).error().with_context(!flag.empty()               ? "--http"
                                                 : !from_environment.empty() ? "SHUFFLEFS_HTTP"
                                                                             : kServiceConfig);
}

Result<boost::json::value> api_call(net::HttpMethod method, const HostPort& address,
                                    const std::string& path, std::chrono::milliseconds timeout) {
  TRY_ASSIGN(const std::string text, call(method, address, path, timeout));
  boost::system::error_code error;
  boost::json::value body = boost::json::parse(text, error);
  if (!error) return body;
  return make_error(
      Code::kProtocol,
      fmt::format("{} answers {} with something that is not JSON: is it a shufflefs daemon of "
                  "another version?",
                  to_string(address), path));
}

Result<std::string> api_text(const HostPort& address, const std::string& path,
                             std::chrono::milliseconds timeout) {
  return call(net::HttpMethod::kGet, address, path, timeout);
}

Status fetch_pages(const HostPort& address, const std::string& path,
                   const std::function<void(const boost::json::value&)>& page) {
  for (uint64_t from = 0;;) {
    TRY_ASSIGN(const boost::json::value answer,
               api_call(net::HttpMethod::kGet, address, fmt::format("{}?from={}", path, from),
                        kPageTimeout));
    page(answer);
    const uint64_t next = View(answer).number("next");
    if (next <= from) return ok();
    from = next;
  }
}

Result<std::vector<merge::ShuffleKey>> fetch_shuffle_names(const HostPort& address) {
  std::vector<merge::ShuffleKey> names;
  for (std::string after;;) {
    TRY_ASSIGN(
        const boost::json::value answer,
        api_call(net::HttpMethod::kGet, address,
                 after.empty() ? "/api/v1/names" : "/api/v1/names?after=" + after, kPageTimeout));
    const std::size_t before = names.size();
    for (const View item : View(answer).list("shuffles")) {
      TRY_ASSIGN(merge::ShuffleKey key, merge::parse_shuffle_key(fmt::format(
                                            "{}/{}", item.text("app"), item.number("shuffle"))));
      names.push_back(std::move(key));
    }
    after = View(answer).text("next");
    if (after.empty() || names.size() == before) return names;
  }
}

}  // namespace shufflefs
