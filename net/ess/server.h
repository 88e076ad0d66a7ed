// Spark's External Shuffle Service: listens, and serves each client's connection
// (docs/spark-service.md).
//
// Threads: reactor; construct and listen() before the reactor runs, or on it; destroy after it has
// ended. Ownership: the referred-to objects outlive it, and stop() has returned before it is
// destroyed. Failure: listen() says what to do; accept errors such as EMFILE pause the listener.
// Cost: two coroutines a connection, a few threads for each disk that is in use.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <set>

#include "base/asio_runtime.h"
#include "base/gate.h"
#include "base/parse.h"
#include "net/ess/connection.h"

namespace shufflefs::net::ess {

struct EssOptions {
  HostPort listen;
  std::shared_ptr<const AuthSecret> secret;  // none: nobody is asked who they are
  AuthPolicy auth;
  EssLimits limits;
};

struct EssStatus {
  std::string listen;
  bool authenticates = false;
  std::size_t connections = 0;
  std::size_t streams = 0;
  std::size_t applications = 0;
  std::size_t executors = 0;
  std::size_t open_outputs = 0;
  uint64_t request_bytes = 0;
};

class EssServer {
 public:
  EssServer(AsioRuntime& runtime, merge::SparkApps& apps, Metrics& metrics, EssOptions options);
  ~EssServer();
  EssServer(const EssServer&) = delete;
  EssServer& operator=(const EssServer&) = delete;

  // Binds and listens; connections wait in the backlog until start(). Port 0 takes any free one.
  // The executors' directories must exist. kConfig with the remedy if it is not possible.
  [[nodiscard]] Status listen();
  [[nodiscard]] uint16_t port() const { return port_; }
  void start();
  // Closes the listener and every connection. Idempotent.
  [[nodiscard]] Task<void> stop();
  [[nodiscard]] EssStatus status() const;

 private:
  [[nodiscard]] Task<void> accept_forever();
  [[nodiscard]] Task<void> serve(std::shared_ptr<EssConnection> connection);
  [[nodiscard]] Task<void> watch_forever();
  void add_gauges(Metrics& metrics);

  AsioRuntime& runtime_;
  const EssOptions options_;
  EssMetrics metrics_;
  Usage usage_;
  BlockFiles files_;
  ReadAhead read_ahead_;
  Services services_;
  asio::ip::tcp::acceptor acceptor_;
  Gate gate_;
  uint16_t port_ = 0;
  std::set<EssConnection*> connections_;
};

}  // namespace shufflefs::net::ess
