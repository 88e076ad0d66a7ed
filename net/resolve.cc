#include "net/resolve.h"

#include <fmt/format.h>

#include <algorithm>

namespace shufflefs::net {
namespace {

using asio::ip::tcp;

struct Lookup {
  explicit Lookup(AsioRuntime& runtime) : resolver(runtime.context()), done(runtime.make_timer()) {}
  tcp::resolver resolver;
  std::unique_ptr<Timer> done;
  bool finished = false;
  boost::system::error_code error;
  std::vector<tcp::endpoint> endpoints;
};

}  // namespace

Task<Result<std::vector<tcp::endpoint>>> resolve(AsioRuntime& runtime, HostPort address,
                                                 Duration timeout) {
  boost::system::error_code not_numeric;
  const auto numeric = asio::ip::make_address(address.host, not_numeric);
  if (!not_numeric) co_return std::vector{tcp::endpoint(numeric, address.port)};

  // A completion and not a coroutine: getaddrinfo cannot be cancelled, so its end must not be
  // waited for.
  const auto lookup = std::make_shared<Lookup>(runtime);
  lookup->resolver.async_resolve(
      address.host, std::to_string(address.port), tcp::resolver::numeric_service,
      [lookup](const boost::system::error_code& error, const tcp::resolver::results_type& results) {
        lookup->finished = true;
        lookup->error = error;
        for (const auto& entry : results) {
          if (std::ranges::find(lookup->endpoints, entry.endpoint()) == lookup->endpoints.end()) {
            lookup->endpoints.push_back(entry.endpoint());
          }
        }
        lookup->done->wake();
      });
  co_await lookup->done->wait_for(timeout);
  if (!lookup->finished) {
    co_return make_error(Code::kTimeout,
                         fmt::format("looking up {}: the deadline passed", address.host));
  }
  if (lookup->error || lookup->endpoints.empty()) {
    co_return make_error(Code::kPeerUnreachable,
                         fmt::format("looking up {}: {}", address.host, lookup->error.message()));
  }
  co_return std::move(lookup->endpoints);
}

}  // namespace shufflefs::net
