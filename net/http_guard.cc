#include "net/http_guard.h"

#include <fmt/format.h>

#include <boost/asio/ip/address.hpp>

namespace shufflefs::net {
namespace {

constexpr std::string_view kBearer = "Bearer ";

// Without a hint by its duration of where the first difference is.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

HttpAnswer unauthorized() {
  HttpAnswer answer = error_answer(
      401, "unauthorized",
      "this needs the node's token (--http-token-file): send 'Authorization: Bearer TOKEN'; the "
      "commands take it from the file that SHUFFLEFS_HTTP_TOKEN_FILE names");
  answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

// What a browser says of a request that a page of ours did not make.
bool is_from_elsewhere(const HttpQuestion& question) {
  if (!question.fetch_site.empty() && question.fetch_site != "same-origin" &&
      question.fetch_site != "none")
    return true;
  return !question.origin.empty() && question.origin != "http://" + question.host &&
         question.origin != "https://" + question.host;
}

}  // namespace

bool is_local_host_header(std::string_view host) {
  if (host.empty()) return true;
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return false;
    host = host.substr(1, end - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  if (host == "localhost") return true;
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(host), error);
  return !error;
}

bool HttpGuard::has_token(const HttpQuestion& question) const {
  const std::string_view sent = question.authorization;
  return !access_.token.empty() && sent.starts_with(kBearer) &&
         same_secret(access_.token, sent.substr(kBearer.size()));
}

std::optional<HttpAnswer> HttpGuard::refuse(const HttpQuestion& question) const {
  const bool changes = question.method != HttpMethod::kGet;
  if (!changes && access_.open_paths.contains(question.path)) return std::nullopt;
  if (has_token(question)) return std::nullopt;
  if (access_.reading_needs_token) return unauthorized();
  if (!is_local_host_header(question.host)) {
    return error_answer(
        403, "forbidden",
        fmt::format("the request is for '{}', which may be anybody's name for this machine: use "
                    "its IP address or localhost, or a token (--http-token-file)",
                    question.host.substr(0, 100)));
  }
  if (!changes) return std::nullopt;
  if (!access_.token.empty()) return unauthorized();
  if (is_from_elsewhere(question))
    return error_answer(403, "forbidden", "another site's page must not change anything here");
  return std::nullopt;
}

}  // namespace shufflefs::net
