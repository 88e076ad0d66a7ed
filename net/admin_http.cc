#include "net/admin_http.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <optional>

#include "base/log.h"

namespace shufflefs::net {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using Tcp = asio::ip::tcp;
using ParsedRequest = http::request<http::string_body>;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::string_view kBusy =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: "
    "close\r\n\r\n";

std::optional<HttpMethod> method_of(http::verb verb) {
  switch (verb) {
    case http::verb::get: return HttpMethod::kGet;
    case http::verb::post: return HttpMethod::kPost;
    case http::verb::delete_: return HttpMethod::kDelete;
    default: return std::nullopt;
  }
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10U;
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10U;
  return std::nullopt;
}

// Nothing for a broken escape and for a NUL, which no name of ours can hold.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    result += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return result;
}

// Splits the request target; nothing if it is not a path with a well-formed query.
std::optional<HttpQuestion> question_of(HttpMethod method, std::string_view target,
                                        std::string body) {
  HttpQuestion question;
  question.method = method;
  question.body = std::move(body);
  const auto mark = target.find('?');
  auto path = percent_decoded(target.substr(0, mark));
  if (!path || !path->starts_with('/')) return std::nullopt;
  question.path = std::move(*path);
  if (mark == std::string_view::npos) return question;
  for (const std::string_view pair : split(target.substr(mark + 1), '&')) {
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto name = percent_decoded(pair.substr(0, equals));
    auto value =
        equals == std::string_view::npos ? std::string() : percent_decoded(pair.substr(equals + 1));
    if (!name || !value) return std::nullopt;
    question.query[*name] = std::move(*value);
  }
  return question;
}

// The answer to bytes that are no acceptable request; nothing where only closing makes sense.
std::optional<HttpAnswer> answer_to_bad_request(const boost::system::error_code& error,
                                                const HttpLimits& limits) {
  if (error == http::error::header_limit) {
    return error_answer(431, "too_large",
                        fmt::format("the header is larger than {} bytes", limits.header_bytes));
  }
  if (error == http::error::body_limit) {
    return error_answer(413, "too_large",
                        fmt::format("the body is larger than {} bytes", limits.body_bytes));
  }
  const bool broken_off =
      error == http::error::end_of_stream || error == http::error::partial_message;
  if (!broken_off &&
      error.category() == http::make_error_code(http::error::bad_method).category()) {
    return error_answer(400, "invalid_argument",
                        "this is not an HTTP/1.1 request: " + error.message());
  }
  return std::nullopt;
}

Task<bool> write_answer(beast::tcp_stream& stream, HttpAnswer answer, bool keep_alive,
                        Duration deadline) {
  http::response<http::string_body> response{static_cast<http::status>(answer.status), 11};
  response.set(http::field::content_type, answer.content_type);
  response.set(http::field::cache_control, "no-store");
  // What a browser would otherwise guess from the bytes, or hand to pages of other sites.
  response.set("X-Content-Type-Options", "nosniff");
  response.set("Cross-Origin-Resource-Policy", "same-origin");
  for (const auto& [name, value] : answer.headers) response.set(name, value);
  if (answer.status == 405) response.set(http::field::allow, "GET, POST, DELETE");
  response.body() = std::move(answer.body);
  response.keep_alive(keep_alive);
  response.prepare_payload();
  stream.expires_after(deadline);
  const auto [error, bytes] = co_await http::async_write(stream, response, kAsTuple);
  co_return !error;
}

// Exceptions become an answer here: the race against the deadline would wait for its end after one.
Task<HttpAnswer> call_safely(const AdminHttp::Handler& handler, HttpQuestion question) {
  const std::string path = question.path;
  std::string failure;
  try {
    co_return co_await handler(std::move(question));
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;  // too slow, or we are stopping
    failure = error.what();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  log_limited(LogLevel::kError, "http.handler_failed", {{"path", path}, {"reason", failure}});
  co_return error_answer(500, to_string(Code::kInternal), failure);
}

// Counts one connection as long as it lives, even if the server is gone before the coroutine's
// frame is.
class Counted {
 public:
  explicit Counted(std::shared_ptr<std::size_t> counter) : counter_(std::move(counter)) {
    ++*counter_;
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*counter_; }

 private:
  std::shared_ptr<std::size_t> counter_;
};

// A socket is in the list as long as it lives, or until somebody else takes it out.
class Listed {
 public:
  using List = std::list<Tcp::socket*>;
  Listed(std::shared_ptr<List> list, Tcp::socket& socket)
      : list_(std::move(list)), socket_(socket) {
    list_->push_back(&socket_);
  }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  ~Listed() { list_->remove(&socket_); }

 private:
  std::shared_ptr<List> list_;
  Tcp::socket& socket_;
};

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

AdminHttp::AdminHttp(Runtime& runtime, HttpLimits limits)
    : runtime_(runtime),
      limits_(limits),
      acceptor_(runtime.executor()),
      gate_(runtime, "admin_http") {}

AdminHttp::~AdminHttp() = default;

void AdminHttp::add_route(std::string prefix, Handler handler) {
  while (prefix.size() > 1 && prefix.ends_with('/')) prefix.pop_back();
  const auto place = std::find_if(routes_.begin(), routes_.end(), [&](const Route& route) {
    return route.prefix.size() < prefix.size();
  });
  routes_.insert(place, Route{std::move(prefix), std::move(handler)});
}

Status AdminHttp::listen(const HostPort& address) {
  boost::system::error_code error;
  const asio::ip::address ip =
      asio::ip::make_address(address.host == "localhost" ? "127.0.0.1" : address.host, error);
  if (error) {
    return make_error(Code::kConfig,
                      fmt::format("http-listen: '{}' is not an IP address", address.host));
  }
  const Tcp::endpoint endpoint(ip, address.port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    acceptor_.close();
    return Error{Code::kIo, error.value(),
                 fmt::format("cannot listen on {}: {}; choose another --http-listen or stop what "
                             "holds the port (ss -tlnp)",
                             to_string(address), error.message())};
  }
  port_ = acceptor_.local_endpoint().port();
  gate_.spawn(accept_forever());
  return ok();
}

Task<void> AdminHttp::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  co_await gate_.close();
}

Task<void> AdminHttp::accept_forever() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(kAsTuple);
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) co_return;
    if (error) {
      // Out of descriptors, most often: others must be closed first.
      log_limited(LogLevel::kWarning, "http.accept_failed", {{"reason", error.message()}});
      co_await sleep_for(runtime_, std::chrono::milliseconds(100));
      continue;
    }
    if (*connections_ >= limits_.connections && !waiting_->empty()) {
      // Its coroutine ends soon, and then the count is right again.
      boost::system::error_code ignored;
      waiting_->front()->close(ignored);
      waiting_->pop_front();
    } else if (*connections_ >= limits_.connections) {
      log_limited(LogLevel::kWarning, "http.too_many_connections",
                  {{"limit", limits_.connections}});
      boost::system::error_code ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(kBusy), ignored);
      continue;
    }
    gate_.spawn(serve_connection(std::move(socket)));
  }
}

Task<void> AdminHttp::serve_connection(Tcp::socket socket) {
  const Counted counted(connections_);
  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(limits_.header_bytes + limits_.body_bytes);
  while (true) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
    parser.body_limit(limits_.body_bytes);
    stream.expires_after(limits_.deadline);
    std::optional<Listed> waits(std::in_place, waiting_, stream.socket());
    const auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kAsTuple);
    waits.reset();
    if (error) {
      auto answer = answer_to_bad_request(error, limits_);
      if (answer) co_await write_answer(stream, std::move(*answer), false, limits_.deadline);
      break;
    }
    stream.expires_never();
    ParsedRequest request = parser.release();
    const bool keep_alive = request.keep_alive();
    const auto method = method_of(request.method());
    HttpAnswer answer =
        error_answer(405, "invalid_argument", "only GET, POST and DELETE are understood");
    if (method) {
      auto question = question_of(*method, request.target(), std::move(request.body()));
      if (question) {
        question->host = request[http::field::host];
        question->origin = request[http::field::origin];
        question->fetch_site = request["Sec-Fetch-Site"];
        question->authorization = request[http::field::authorization];
      }
      if (question)
        answer = co_await answer_to(std::move(*question));
      else
        answer = error_answer(400, "invalid_argument", "the request's path or query is malformed");
    }
    if (!co_await write_answer(stream, std::move(answer), keep_alive, limits_.deadline) ||
        !keep_alive)
      break;
  }
  boost::system::error_code ignored;
  stream.socket().shutdown(Tcp::socket::shutdown_both, ignored);
}

const AdminHttp::Handler* AdminHttp::route_for(std::string_view path) const {
  for (const Route& route : routes_) {
    if (route.prefix == "/") return &route.handler;
    if (!path.starts_with(route.prefix)) continue;
    const std::string_view rest = path.substr(route.prefix.size());
    if (rest.empty() || rest.starts_with('/')) return &route.handler;
  }
  return nullptr;
}

Task<HttpAnswer> AdminHttp::answer_to(HttpQuestion question) {
  if (guard_) {
    if (auto refused = guard_(question)) co_return *std::move(refused);
  }
  const Handler* const handler = route_for(question.path);
  if (handler != nullptr) co_return co_await call_with_deadline(*handler, std::move(question));
  if (question.path == "/healthz") co_return text_answer("ok\n");
  co_return error_answer(404, "not_found", fmt::format("nothing is served at '{}'", question.path));
}

Task<HttpAnswer> AdminHttp::call_with_deadline(const Handler& handler, HttpQuestion question) {
  using namespace asio::experimental::awaitable_operators;  // NOLINT(google-build-using-namespace)
  const std::string path = question.path;
  auto outcome =
      co_await (call_safely(handler, std::move(question)) || sleep_for(runtime_, limits_.deadline));
  if (outcome.index() == 0) co_return std::get<0>(std::move(outcome));
  const auto cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
  if (cancelled == asio::cancellation_type::none) {  // else we are stopping
    log_limited(LogLevel::kWarning, "http.handler_slow", {{"path", path}});
  }
  co_return error_answer(504, to_string(Code::kTimeout),
                         "the node did not have the answer in time; try again");
}

}  // namespace shufflefs::net
