// The relay: takes the connections that this machine's processes open to the shuffle services of
// other nodes, and answers them from merged partitions (docs/relay.md).
//
// Threads: reactor; construct and listen() before the reactor runs, or on it; destroy after it has
// ended. Ownership: the referred-to objects outlive it, and stop() has returned before it is
// destroyed. Failure: listen() and start() say what to do. Connections are taken only while
// refreshing the redirection works; a redirection that cannot be refreshed ends by itself, and is
// logged (relay.not_refreshed).
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <map>
#include <optional>
#include <set>

#include "base/gate.h"
#include "base/parse.h"
#include "merge/cluster.h"
#include "net/relay/connection.h"
#include "net/relay/redirect.h"

namespace shufflefs::net::relay {

struct RelayOptions {
  HostPort service;  // where this node's own service listens
  ess::EssLimits limits;
  RelayTimes times;
  uint64_t ahead_bytes = 4U << 20U;
  // Off: connections come to port() by other means, and say by this where they are meant to go.
  bool redirects = true;
  std::optional<asio::ip::tcp::endpoint> origin;  // for tests
};

struct RelayStatus {
  bool redirects = false;  // connections are taken now
  std::size_t connections = 0;
  std::size_t streams = 0;
};

class RelayServer {
 public:
  RelayServer(AsioRuntime& runtime, merge::Cluster& cluster, merge::Catalog& catalog,
              ByteBudget& read_budget, merge::StreamOptions stream, RelayMetrics& metrics,
              RelayOptions options);
  ~RelayServer();
  RelayServer(const RelayServer&) = delete;
  RelayServer& operator=(const RelayServer&) = delete;

  // Binds, and makes the table that redirects nothing yet. kConfig with the remedy. Blocks.
  [[nodiscard]] Status listen();
  [[nodiscard]] uint16_t port() const { return port_; }
  void start();
  // No connection is taken from now on; those that are open are closed. Idempotent.
  [[nodiscard]] Task<void> stop();
  [[nodiscard]] RelayStatus status() const;

 private:
  [[nodiscard]] Task<void> accept_forever();
  [[nodiscard]] Task<void> serve(std::shared_ptr<RelayConnection> connection);
  [[nodiscard]] Task<void> watch_forever();
  [[nodiscard]] Task<void> refresh_forever();
  // Names among the members' addresses become numbers.
  [[nodiscard]] Task<void> resolve_forever();
  [[nodiscard]] std::optional<asio::ip::tcp::endpoint> meant_for(
      const asio::ip::tcp::socket& socket) const;
  [[nodiscard]] std::optional<merge::NodeTag> node_at(const asio::ip::address& address) const;

  AsioRuntime& runtime_;
  merge::Cluster& cluster_;
  const RelayOptions options_;
  RelayMetrics& metrics_;
  ess::Usage usage_;
  merge::MergedReaders readers_;
  Services services_;
  asio::ip::tcp::acceptor acceptor_;
  std::optional<Redirect> redirect_;
  bool redirects_ = false;
  std::map<std::string, std::vector<asio::ip::address>> resolved_;  // names of hosts
  Gate gate_;
  uint16_t port_ = 0;
  std::set<RelayConnection*> connections_;
};

}  // namespace shufflefs::net::relay
