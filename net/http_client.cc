#include "net/http_client.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <optional>

namespace shufflefs::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Tcp = asio::ip::tcp;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::uint64_t kMaxAnswerBytes = std::uint64_t{64} << 20U;

http::verb verb_of(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet: return http::verb::get;
    case HttpMethod::kPost: return http::verb::post;
    case HttpMethod::kDelete: return http::verb::delete_;
  }
  return http::verb::get;
}

Error unreachable(const HostPort& address, const std::string& why) {
  return make_error(Code::kPeerUnreachable,
                    fmt::format("nothing answers at {} ({}): is the daemon running? Give its "
                                "address with --http ADDR:PORT "
                                "or SHUFFLEFS_HTTP",
                                to_string(address), why));
}

// An address needs no resolver (and so no thread); a name may have several addresses.
asio::awaitable<Result<std::vector<Tcp::endpoint>>> endpoints_of(HostPort address) {
  boost::system::error_code no_address;
  const auto ip = asio::ip::make_address(address.host, no_address);
  if (!no_address) co_return std::vector<Tcp::endpoint>{Tcp::endpoint(ip, address.port)};
  Tcp::resolver resolver(co_await asio::this_coro::executor);
  const auto [error, found] =
      co_await resolver.async_resolve(address.host, std::to_string(address.port), kAsTuple);
  if (error) co_return unreachable(address, error.message());
  std::vector<Tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  co_return endpoints;
}

asio::awaitable<Result<HttpAnswer>> call(HttpMethod method, HostPort address, std::string target,
                                         std::string token) {
  const auto endpoints = co_await endpoints_of(address);
  if (!endpoints) co_return endpoints.error();
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  const auto [connect_error, endpoint] = co_await stream.async_connect(*endpoints, kAsTuple);
  if (connect_error) co_return unreachable(address, connect_error.message());

  http::request<http::empty_body> request{verb_of(method), target, 11};
  request.set(http::field::host, to_string(address));
  request.set(http::field::user_agent, "shufflefs");
  if (!token.empty()) request.set(http::field::authorization, "Bearer " + token);
  request.keep_alive(false);
  const auto [write_error, written] = co_await http::async_write(stream, request, kAsTuple);
  if (write_error) co_return unreachable(address, write_error.message());

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxAnswerBytes);
  const auto [read_error, bytes] = co_await http::async_read(stream, buffer, parser, kAsTuple);
  if (read_error) {
    if (read_error.category() != http::make_error_code(http::error::bad_version).category()) {
      co_return unreachable(address, read_error.message());
    }
    co_return make_error(
        Code::kProtocol,
        fmt::format(
            "what answers at {} does not speak our HTTP ({}): is it the --http-listen address of "
            "a shufflefs daemon?",
            to_string(address), read_error.message()));
  }
  HttpAnswer answer;
  answer.status = parser.get().result_int();
  answer.content_type = parser.get()[http::field::content_type];
  answer.body = std::move(parser.get().body());
  co_return answer;
}

}  // namespace

Result<HttpAnswer> http_call(HttpMethod method, const HostPort& address, const std::string& target,
                             std::chrono::milliseconds deadline, const std::string& token) {
  // Declared before the context, whose destructor ends the coroutine that refers to it.
  std::optional<Result<HttpAnswer>> result;
  asio::io_context context(1);
  asio::co_spawn(context, call(method, address, target, token),
                 [&result](const std::exception_ptr& failure, auto answer) {
                   if (!failure)
                     result.emplace(std::move(answer));
                   else
                     result.emplace(make_error(Code::kInternal, "the HTTP client failed"));
                 });
  context.run_for(deadline);
  if (result) return std::move(*result);
  return make_error(
      Code::kTimeout,
      fmt::format("{} did not answer {} {} within {} ms: is the daemon overloaded or stopped?",
                  to_string(address), to_string(method), target, deadline.count()));
}

}  // namespace shufflefs::net
