#include "net/ess/server.h"

#include <fmt/format.h>

#include "base/log.h"

namespace shufflefs::net::ess {

EssMetrics::EssMetrics(Metrics& metrics)
    : connections(metrics.counter("shufflefs_spark_connections_total", "Connections accepted.")),
      connections_refused(metrics.counter("shufflefs_spark_connections_refused_total",
                                          "Connections closed at once: too many.")),
      limit_closes(metrics.counter(
          "shufflefs_spark_limit_closes_total",
          "Connections closed for a limit (spark.memory, streams of a connection).")),
      protocol_errors(metrics.counter("shufflefs_spark_protocol_errors_total",
                                      "Connections closed for invalid frames.")),
      auth_failures(metrics.counter("shufflefs_spark_auth_failures_total",
                                    "Handshakes and messages refused by authentication.")),
      slow_clients(metrics.counter("shufflefs_spark_slow_clients_total",
                                   "Connections closed: the client received nothing.")),
      slow_disks(metrics.counter("shufflefs_spark_slow_disks_total",
                                 "Connections closed: a disk did not answer.")),
      signs_of_life(metrics.counter("shufflefs_spark_signs_of_life_total",
                                    "Empty frames sent while a disk is slow.")),
      requests(metrics.counter("shufflefs_spark_requests_total", "RPCs received.")),
      requests_failed(
          metrics.counter("shufflefs_spark_requests_failed_total", "RPCs that failed.")),
      registrations(
          metrics.counter("shufflefs_spark_registrations_total", "Executors registered.")),
      chunks(metrics.counter("shufflefs_spark_chunks_total", "Blocks sent.")),
      chunks_failed(metrics.counter("shufflefs_spark_chunks_failed_total", "Blocks that failed.")),
      chunk_bytes(metrics.counter("shufflefs_spark_chunk_bytes_total", "Bytes of blocks sent.")),
      cold_chunks(
          metrics.counter("shufflefs_spark_cold_reads_total", "Reads that waited for a disk.")),
      read_ahead_bytes(metrics.counter("shufflefs_spark_read_ahead_bytes_total",
                                       "Bytes read ahead for neighbouring blocks.")),
      rpc_seconds(metrics.histogram("shufflefs_spark_rpc_seconds",
                                    "Time from an RPC's arrival to its answer.")),
      chunk_seconds(metrics.histogram("shufflefs_spark_chunk_seconds",
                                      "Time from a block's request to its first byte.")) {}

Error Usage::refused(std::string_view what, uint64_t bytes) const {
  return make_error(Code::kTooLarge,
                    fmt::format("{} needs {} bytes, and {} of {} are in use: raise --spark.memory",
                                what, bytes, used(), max()));
}

EssServer::EssServer(AsioRuntime& runtime, merge::SparkApps& apps, Metrics& metrics,
                     EssOptions options)
    : runtime_(runtime),
      options_(std::move(options)),
      metrics_(metrics),
      usage_(options_.limits.request_bytes),
      files_(runtime, apps, options_.limits),
      read_ahead_(metrics_),
      services_{runtime, apps, files_, read_ahead_, usage_, metrics_, options_.limits,
                options_.secret != nullptr,
                // As Java does, so that a client that talks to a restarted daemon does not take one
                // stream for another.
                static_cast<int64_t>(runtime.random() % 1'000'000'000) * 1000},
      acceptor_(runtime.context()),
      gate_(runtime, "spark") {
  add_gauges(metrics);
}

EssServer::~EssServer() = default;

void EssServer::add_gauges(Metrics& metrics) {
  auto gauge = [&](const std::string& name, const std::string& help, auto value) {
    metrics.gauge(name, help, [value] { return static_cast<double>(value()); });
  };
  gauge("shufflefs_spark_connections", "Open connections.", [this] { return connections_.size(); });
  gauge("shufflefs_spark_streams", "Open streams.", [this] { return services_.streams; });
  gauge("shufflefs_spark_request_bytes", "Memory held for client requests.",
        [this] { return usage_.used(); });
  gauge("shufflefs_spark_open_outputs", "Open map outputs.",
        [this] { return files_.open_files(); });
  gauge("shufflefs_spark_executors", "Registered executors.",
        [this] { return services_.apps.executors().size(); });
  gauge("shufflefs_spark_applications", "Applications with registered executors.",
        [this] { return services_.apps.executors().applications(); });
}

Status EssServer::listen() {
  TRY(files_.find_roots());
  boost::system::error_code error;
  auto bad = [&](std::string_view remedy) {
    return make_error(Code::kConfig,
                      fmt::format("cannot listen for Spark on {}: {}: {}",
                                  to_string(options_.listen), error.message(), remedy));
  };
  const auto numeric = asio::ip::make_address(options_.listen.host, error);
  if (error) return bad("--spark-listen takes a numeric address, e.g. 0.0.0.0:7337");
  const asio::ip::tcp::endpoint endpoint(numeric, options_.listen.port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return bad(
        "is another shuffle service running here (a Spark worker or YARN's node manager "
        "with spark.shuffle.service.enabled)? Stop it, or choose another port with "
        "--spark-listen and spark.shuffle.service.port");
  }
  port_ = acceptor_.local_endpoint(error).port();
  return ok();
}

void EssServer::start() {
  gate_.spawn(accept_forever());
  gate_.spawn(watch_forever());
  log_info("spark.started", {{"what", "Started external shuffle service"},
                             {"address", options_.listen.host},
                             {"port", port_},
                             {"authentication", services_.authenticates ? "on" : "off"}});
}

Task<void> EssServer::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  for (EssConnection* connection : connections_) connection->close();
  co_await gate_.close();
}

Task<void> EssServer::accept_forever() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!acceptor_.is_open()) co_return;
    if (error) {
      log_limited(LogLevel::kWarning, "spark.accept_failed", {{"reason", error.message()}});
      co_await sleep_for(runtime_, options_.limits.accept_pause);
      continue;
    }
    metrics_.connections.add();
    if (connections_.size() >= options_.limits.connections) {
      metrics_.connections_refused.add();
      log_limited(LogLevel::kWarning, "spark.too_many_connections",
                  {{"limit", options_.limits.connections}, {"remedy", "raise spark.connections"}});
      continue;  // closes it
    }
    auto auth =
        options_.secret ? std::make_unique<ServerAuth>(options_.secret, options_.auth) : nullptr;
    auto connection =
        std::make_shared<EssConnection>(services_, std::move(socket), std::move(auth));
    gate_.spawn(EssConnection::write_forever(connection));
    gate_.spawn(serve(std::move(connection)));
  }
}

Task<void> EssServer::serve(std::shared_ptr<EssConnection> connection) {
  struct Listed {
    std::set<EssConnection*>& all;
    EssConnection* one;
    Listed(std::set<EssConnection*>& set, EssConnection* connection) : all(set), one(connection) {
      all.insert(one);
    }
    ~Listed() { all.erase(one); }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;
  };
  const Listed listed(connections_, connection.get());
  co_await EssConnection::read_forever(std::move(connection));
}

Task<void> EssServer::watch_forever() {
  while (true) {
    co_await sleep_for(runtime_, options_.limits.watch_interval);
    const TimePoint now = runtime_.now();
    for (EssConnection* connection : connections_) connection->watch(now);
    files_.close_idle();
    read_ahead_.clean_up();
  }
}

EssStatus EssServer::status() const {
  const merge::Executors& executors = services_.apps.executors();
  return {.listen = to_string(HostPort{options_.listen.host, port_}),
          .authenticates = services_.authenticates,
          .connections = connections_.size(),
          .streams = services_.streams,
          .applications = executors.applications(),
          .executors = executors.size(),
          .open_outputs = files_.open_files(),
          .request_bytes = usage_.used()};
}

}  // namespace shufflefs::net::ess
