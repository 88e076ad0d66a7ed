// The daemon's small HTTP/1.1 server for people, scripts and scrapers: routes are registered,
// nothing here knows what they answer. GET, POST and DELETE; keep-alive; at most kMaxHeaderBytes of
// header and kMaxBodyBytes of body.
//
// Threads: reactor only; add_route() and listen() before the reactor runs or on it. Ownership:
// handlers are kept until the server is destroyed; the Runtime outlives it. Failure: a peer that is
// slow, silent or talks nonsense loses its connection after the deadline; a handler that throws or
// exceeds its deadline is answered for (500, 504). Above the connection limit the connection that
// has waited longest for a request of its client is closed, so that whoever holds many open keeps
// nobody out; if all are being answered, a caller gets 503. Cost: one coroutine per connection.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/gate.h"
#include "base/parse.h"
#include "base/runtime.h"
#include "net/http_message.h"

namespace shufflefs::net {

struct HttpLimits {
  std::size_t header_bytes = std::size_t{8} << 10U;
  std::size_t body_bytes = std::size_t{64} << 10U;
  std::size_t connections = 256;
  Duration deadline =
      std::chrono::seconds(10);  // each for: a request to arrive, its handler, the answer to leave
};

// Who may ask the administration server what. A browser on an operator's machine reaches a loopback
// port too, so pages of other sites must neither change anything (cross-site requests) nor read
// anything (DNS rebinding: a name of theirs that points here).
//
//   open paths (health, the page's own files, which hold no data): anybody, GET only
//   a valid bearer token: everything
//   otherwise, where reading needs a token: nothing (401)
//   otherwise: GET, if the Host header is an address or localhost (else 403); and, if no token is
//   configured, changes as well, but not for another site's page (403)
//
// Constant after construction: any thread.
struct HttpAccess {
  std::string token;                // empty: none is configured
  bool reading_needs_token = true;  // the server can be reached from other machines
  std::set<std::string, std::less<>> open_paths;
};

class HttpGuard {
 public:
  explicit HttpGuard(HttpAccess access) : access_(std::move(access)) {}

  // Nothing if the question may be answered.
  [[nodiscard]] std::optional<HttpAnswer> refuse(const HttpQuestion& question) const;

 private:
  [[nodiscard]] bool has_token(const HttpQuestion& question) const;

  const HttpAccess access_;
};

// "127.0.0.1:7340", "[::1]", "localhost": whether a Host header names a machine and not a domain
// that somebody else may own. An empty one is no browser's.
[[nodiscard]] bool is_local_host_header(std::string_view host);

class AdminHttp {
 public:
  using Handler = std::function<Task<HttpAnswer>(HttpQuestion)>;

  explicit AdminHttp(Runtime& runtime, HttpLimits limits = {});
  AdminHttp(const AdminHttp&) = delete;
  AdminHttp& operator=(const AdminHttp&) = delete;
  ~AdminHttp();

  // The longest matching prefix answers. A prefix matches whole path components: "/a" matches "/a"
  // and "/a/b", not
  // "/ab". The prefix "/" matches what nothing else does. /healthz answers "ok" until it is
  // registered otherwise.
  void add_route(std::string prefix, Handler handler);
  // Asked before every route, what it answers is the answer. None: everybody may do everything.
  using Guard = std::function<std::optional<HttpAnswer>(const HttpQuestion&)>;
  void set_guard(Guard guard) { guard_ = std::move(guard); }

  // Binds and begins to accept. The host is an address or "localhost"; port 0 takes a free one (for
  // tests).
  [[nodiscard]] Status listen(const HostPort& address);
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] std::size_t connections() const { return *connections_; }

  // Closes everything and returns when the last connection has ended. Idempotent.
  [[nodiscard]] Task<void> stop();

 private:
  // The connections that wait for a request, the longest first. Shared with the connections'
  // frames.
  using Waiting = std::list<asio::ip::tcp::socket*>;

  struct Route {
    std::string prefix;
    Handler handler;
  };

  Task<void> accept_forever();
  Task<void> serve_connection(asio::ip::tcp::socket socket);
  Task<HttpAnswer> answer_to(HttpQuestion question);
  Task<HttpAnswer> call_with_deadline(const Handler& handler, HttpQuestion question);
  [[nodiscard]] const Handler* route_for(std::string_view path) const;

  Runtime& runtime_;
  const HttpLimits limits_;
  std::vector<Route> routes_;  // longest prefix first
  Guard guard_;
  asio::ip::tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::shared_ptr<std::size_t> connections_ =
      std::make_shared<std::size_t>(0);  // shared with the connections
  std::shared_ptr<Waiting> waiting_ = std::make_shared<Waiting>();
  Gate gate_;
};

}  // namespace shufflefs::net
