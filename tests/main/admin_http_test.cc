#include "net/admin_http.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/json/parse.hpp>
#include <catch2/catch_test_macros.hpp>

#include "main/http_fixture.h"
#include "net/http_client.h"

namespace shufflefs {
namespace {

using asio::ip::tcp;
using net::HttpAnswer;
using net::HttpMethod;
using net::HttpQuestion;

constexpr auto kPatience = std::chrono::seconds(20);

Task<HttpAnswer> echo(HttpQuestion question) {
  boost::json::object object;
  object["method"] = net::to_string(question.method);
  object["path"] = question.path;
  object["x"] = question.query["x"];
  object["body"] = question.body;
  co_return net::json_answer(object);
}

Task<HttpAnswer> fail(HttpQuestion /*question*/) {
  throw std::runtime_error("on purpose");
  co_return HttpAnswer{};
}

Task<HttpAnswer> hang() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::hours(1));
  co_await timer.async_wait(asio::use_awaitable);
  co_return HttpAnswer{};
}

HttpAnswer get(const HttpFixture& http, const std::string& target,
               HttpMethod method = HttpMethod::kGet) {
  return net::http_call(method, http.address(), target, kPatience).value();
}

std::string echoed(const HttpFixture& http, const std::string& target, const char* member) {
  return std::string(boost::json::parse(get(http, target).body).at(member).as_string());
}

// Sends bytes as they are and returns everything that comes back until the server closes.
std::string send_raw(const HttpFixture& http, const std::string& bytes) {
  asio::io_context context;
  tcp::socket socket(context);
  socket.connect({asio::ip::make_address("127.0.0.1"), http.address().port});
  boost::system::error_code error;
  asio::write(socket, asio::buffer(bytes), error);
  std::string answer;
  asio::read(socket, asio::dynamic_buffer(answer), error);
  return answer;
}

}  // namespace

TEST_CASE("admin http: routes by the longest prefix of whole components") {
  HttpFixture http;
  http.server.add_route("/api/v1/shuffles", echo);
  http.server.add_route("/api/v1/shuffles/special/", [](HttpQuestion) -> Task<HttpAnswer> {
    co_return net::text_answer("special");
  });
  http.start();
  CHECK(get(http, "/healthz").body == "ok\n");
  CHECK(get(http, "/api/v1/shuffles/special").body == "special");
  CHECK(get(http, "/api/v1/shuffles/special/0").body == "special");
  CHECK(echoed(http, "/api/v1/shuffles", "path") == "/api/v1/shuffles");
  CHECK(echoed(http, "/api/v1/shuffles/app/0?y=1&x=a%20b", "x") == "a b");
  CHECK(echoed(http, "/api/v1/shuffles/a%2Fb", "path") == "/api/v1/shuffles/a/b");
  CHECK(get(http, "/api/v1/shufflesX").status == 404);
  CHECK(get(http, "/api/v1/shuffles/x", HttpMethod::kDelete).body.find("DELETE") !=
        std::string::npos);
  const HttpAnswer unknown = get(http, "/h");
  CHECK(unknown.status == 404);
  CHECK(boost::json::parse(unknown.body).at("error").at("code").as_string() == "not_found");
}

TEST_CASE("admin http: what is no acceptable request gets an answer that says so") {
  net::HttpLimits limits;
  limits.deadline = std::chrono::milliseconds(200);
  HttpFixture http(limits);
  http.server.add_route("/", echo);
  http.start();
  CHECK(send_raw(http, "garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
  CHECK(send_raw(http, "GET /%zz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
  CHECK(send_raw(http, "GET /%00 HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
  CHECK(send_raw(http, "PUT / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
  CHECK(send_raw(http, "GET / HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n")
            .starts_with("HTTP/1.1 431"));
  CHECK(send_raw(http, "POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n")
            .starts_with("HTTP/1.1 413"));
  CHECK(send_raw(http, "POST / HTTP/1.1\r\nContent-Length: 4611686018427387904\r\n\r\n")
            .starts_with("HTTP/1.1 413"));
  CHECK(send_raw(http, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4000000000000000\r\nx")
            .starts_with("HTTP/1.1 413"));
  const std::string body(60'000, 'b');
  CHECK(send_raw(http, "POST / HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + body).find(body) !=
        std::string::npos);
  // Whoever stays silent is disconnected; send_raw() returns.
  CHECK(send_raw(http, "").empty());
  CHECK(send_raw(http, "GET / HT").empty());
}

TEST_CASE("admin http: several requests on one connection") {
  HttpFixture http;
  http.start();
  const std::string answer = send_raw(
      http, "GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(answer.find("ok\n") != answer.rfind("ok\n"));
}

TEST_CASE("admin http: handlers that fail or hang are answered for") {
  net::HttpLimits limits;
  limits.deadline = std::chrono::milliseconds(100);
  HttpFixture http(limits);
  asio::any_io_executor executor;
  http.server.add_route("/fail", fail);
  http.server.add_route("/hang", [](const HttpQuestion& /*question*/) { return hang(); });
  http.start();
  CHECK(get(http, "/fail").status == 500);
  CHECK(get(http, "/hang").status == 504);
}

TEST_CASE("admin http: at the connection limit who waits longest makes room") {
  net::HttpLimits limits;
  limits.connections = 2;
  HttpFixture http(limits);
  http.start();
  asio::io_context context;
  std::vector<tcp::socket> idle;
  const auto ask = [](tcp::socket& socket) {
    // An answer shows that this connection has been counted.
    asio::write(socket, asio::buffer(std::string_view("GET /healthz HTTP/1.1\r\n\r\n")));
    std::array<char, 12> start{};
    asio::read(socket, asio::buffer(start));
    return std::string_view(start.data(), start.size()) == "HTTP/1.1 200";
  };
  for (int i = 0; i < 2; ++i) {
    idle.emplace_back(context).connect({asio::ip::make_address("127.0.0.1"), http.address().port});
    CHECK(ask(idle.back()));
  }
  CHECK(get(http, "/healthz").status == 200);
  // The first one has been closed, the second has not.
  boost::system::error_code error;
  std::string rest;
  asio::read(idle[0], asio::dynamic_buffer(rest), error);
  CHECK((error == asio::error::eof || error == asio::error::connection_reset));
  rest.clear();
  std::array<char, 4096> leftover{};
  idle[1].non_blocking(true);
  while (idle[1].read_some(asio::buffer(leftover), error) > 0) {
  }
  CHECK(error == asio::error::would_block);
  // The fixture's destructor shows that the server stops with idle connections open.
}

TEST_CASE("admin http: with all connections at work a caller is told to come back") {
  net::HttpLimits limits;
  limits.connections = 2;
  HttpFixture http(limits);
  std::atomic<int> working{0};
  http.server.add_route("/work", [&working](const HttpQuestion& /*question*/) {
    ++working;
    return hang();
  });
  http.start();
  asio::io_context context;
  std::vector<tcp::socket> busy;
  for (int i = 0; i < 2; ++i) {
    busy.emplace_back(context).connect({asio::ip::make_address("127.0.0.1"), http.address().port});
    asio::write(busy.back(), asio::buffer(std::string_view("GET /work HTTP/1.1\r\n\r\n")));
  }
  while (working < 2) std::this_thread::yield();
  CHECK(send_raw(http, "").starts_with("HTTP/1.1 503"));
}

TEST_CASE("admin http: what the guard answers is the answer, and it sees who asks") {
  HttpFixture http;
  http.server.add_route("/", echo);
  http.server.set_guard([](const HttpQuestion& question) -> std::optional<HttpAnswer> {
    if (question.authorization == "Bearer x" && question.host == "h:1" &&
        question.origin == "http://o" && question.fetch_site == "none")
      return std::nullopt;
    HttpAnswer answer = net::error_answer(401, "unauthorized", question.path);
    answer.headers.emplace_back("WWW-Authenticate", "Bearer");
    return answer;
  });
  http.start();
  const std::string refused = send_raw(http, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(refused.starts_with("HTTP/1.1 401"));
  CHECK(refused.find("WWW-Authenticate: Bearer\r\n") != std::string::npos);
  CHECK(refused.find("X-Content-Type-Options: nosniff\r\n") != std::string::npos);
  CHECK(send_raw(http,
                 "GET /a HTTP/1.1\r\nHost: h:1\r\nOrigin: http://o\r\nSec-Fetch-Site: none\r\n"
                 "Authorization: Bearer x\r\nConnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 200"));
}

TEST_CASE("admin http: a port that is taken is an error with the remedy") {
  HttpFixture http;
  http.start();
  AsioRuntime runtime(1);
  net::AdminHttp second(runtime);
  const Status status = second.listen(http.address());
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().message.find("--http-listen") != std::string::npos);
}

TEST_CASE("http client: nobody there, silence, and other protocols") {
  asio::io_context context;
  tcp::acceptor silent(context, {asio::ip::make_address("127.0.0.1"), 0});
  const HostPort address{"127.0.0.1", silent.local_endpoint().port()};
  const auto timeout =
      net::http_call(HttpMethod::kGet, address, "/healthz", std::chrono::milliseconds(50));
  CHECK(timeout.error().code == Code::kTimeout);
  silent.close();
  const auto refused = net::http_call(HttpMethod::kGet, address, "/healthz", kPatience);
  CHECK(refused.error().code == Code::kPeerUnreachable);
  CHECK(refused.error().message.find("is the daemon running?") != std::string::npos);
  CHECK(refused.error().message.find("SHUFFLEFS_HTTP") != std::string::npos);

  tcp::acceptor other(context, {asio::ip::make_address("127.0.0.1"), 0});
  std::thread greeter([&] {
    tcp::socket socket = other.accept();
    asio::write(socket, asio::buffer(std::string_view("SSH-2.0-OpenSSH\r\n\r\n")));
    std::array<char, 4096> ignored{};
    boost::system::error_code error;
    socket.read_some(asio::buffer(ignored), error);
  });
  const auto protocol = net::http_call(
      HttpMethod::kGet, {"127.0.0.1", other.local_endpoint().port()}, "/healthz", kPatience);
  greeter.join();
  CHECK(protocol.error().code == Code::kProtocol);
}

}  // namespace shufflefs
