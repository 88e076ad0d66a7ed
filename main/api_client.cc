#include "main/api_client.h"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <cstdlib>

#include "base/escape.h"
#include "main/http_access.h"
#include "net/http_client.h"

namespace shufflefs {
namespace {

// {"error": {"message": ...}}, or the beginning of whatever it was.
std::string message_of(const boost::json::value& body, const std::string& text) {
  if (const auto* const object = body.if_object()) {
    if (const auto* const error = object->if_contains("error");
        error != nullptr && error->is_object()) {
      if (const auto* const message = error->get_object().if_contains("message");
          message != nullptr && message->is_string()) {
        return printable(message->get_string());
      }
    }
  }
  return printable(text_prefix(text, 200));
}

}  // namespace

Result<HostPort> api_address(const std::string& flag) {
  constexpr uint16_t kDefaultPort = 7340;
  const char* const from_environment = std::getenv("SHUFFLEFS_HTTP");
  const bool has_environment = from_environment != nullptr && *from_environment != '\0';
  const std::string text = !flag.empty()     ? flag
                           : has_environment ? from_environment
                                             : "127.0.0.1:7340";
  auto address = parse_host_port(text, kDefaultPort);
  if (address) return address;
  return std::move(address).error().with_context(!flag.empty() ? "--http" : "SHUFFLEFS_HTTP");
}

namespace {

// With the token of SHUFFLEFS_HTTP_TOKEN_FILE.
Result<net::HttpAnswer> call_with_token(net::HttpMethod method, const HostPort& address,
                                        const std::string& path,
                                        std::chrono::milliseconds deadline) {
  std::string token;
  const char* const token_file = std::getenv("SHUFFLEFS_HTTP_TOKEN_FILE");
  if (token_file != nullptr && *token_file != '\0') {
    auto read = read_token_file(token_file);
    if (!read) return std::move(read).error().with_context("SHUFFLEFS_HTTP_TOKEN_FILE");
    token = std::move(*read);
  }
  return net::http_call(method, address, path, deadline, token);
}

}  // namespace

Result<boost::json::value> api_call(net::HttpMethod method, const HostPort& address,
                                    const std::string& path, std::chrono::milliseconds deadline) {
  TRY_ASSIGN(const net::HttpAnswer answer, call_with_token(method, address, path, deadline));
  boost::system::error_code error;
  boost::json::value body = boost::json::parse(answer.body, error);
  if (answer.status >= 400) {
    return make_error(answer.status == 404 ? Code::kNotFound : Code::kRefused,
                      fmt::format("{} answers {}: {}", to_string(address), answer.status,
                                  message_of(body, answer.body)));
  }
  if (error) {
    return make_error(
        Code::kProtocol,
        fmt::format("{} answers {} with something that is not JSON: is it a shufflefs daemon of "
                    "another version?",
                    to_string(address), path));
  }
  return body;
}

Result<std::string> api_text(const HostPort& address, const std::string& path,
                             std::chrono::milliseconds deadline) {
  TRY_ASSIGN(net::HttpAnswer answer,
             call_with_token(net::HttpMethod::kGet, address, path, deadline));
  if (answer.status < 400) return std::move(answer.body);
  return make_error(answer.status == 404 ? Code::kNotFound : Code::kRefused,
                    fmt::format("{} answers {}: {}", to_string(address), answer.status,
                                printable(text_prefix(answer.body, 200))));
}

}  // namespace shufflefs
