#include "net/relay/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter_ipv4.h>
#include <sys/socket.h>

#include <array>

#include "base/log.h"

namespace shufflefs::net::relay {
namespace {

using asio::ip::tcp;
constexpr Duration kResolveInterval = std::chrono::seconds(10);

// In the order of merge::MergedSource; the last is none of these.
constexpr std::array kSources = {"merged_here", "merged_there", "merged_elsewhere", "origin"};

std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

RelayMetrics::RelayMetrics(Metrics& metrics)
    : all(metrics),
      connections(metrics.counter("shufflefs_relay_connections_total",
                                  "Connections to other nodes' shuffle services taken over.")),
      requests(metrics.counter("shufflefs_relay_requests_total",
                               "Requests for shuffle blocks answered by the relay.")),
      forwarded(metrics.counter("shufflefs_relay_forwarded_total",
                                "Messages passed on to the service that they were meant for.")),
      failed(metrics.counter("shufflefs_relay_blocks_failed_total",
                             "Blocks that could be had nowhere.")),
      blocks(
          metrics.counters("shufflefs_relay_blocks_total", "Blocks sent by the relay.", "source")),
      bytes(metrics.counters("shufflefs_relay_bytes_total", "Bytes of blocks sent by the relay.",
                             "source")),
      origins(metrics.counters("shufflefs_relay_origin_blocks_total",
                               "Blocks asked for at their origin, by the reason.", "reason")) {
  for (const char* const source : kSources) {
    blocks.with(source);
    bytes.with(source);
  }
  for (const Why why : {Why::kUnknownNode, Why::kNotMerged, Why::kTooLarge, Why::kFailed})
    origins.with(std::string(to_string(why)));
  const auto none = [] { return 0.0; };
  show({none, none, none});
}

void RelayMetrics::show(Gauges gauges) {
  all.gauge("shufflefs_relay_redirects", "Whether connections are taken over now (1).",
            std::move(gauges.redirects));
  all.gauge("shufflefs_relay_open_connections", "Open connections of the relay.",
            std::move(gauges.connections));
  all.gauge("shufflefs_relay_held_bytes", "Merged blocks held for sending.",
            std::move(gauges.held_bytes));
}

void RelayMetrics::count(merge::MergedSource source, uint64_t size) {
  const char* const name = kSources.at(static_cast<std::size_t>(source));
  blocks.with(name).add();
  bytes.with(name).add(size);
}

void RelayMetrics::count_origin(uint64_t size) {
  blocks.with(kSources.back()).add();
  bytes.with(kSources.back()).add(size);
}

RelayServer::RelayServer(AsioRuntime& runtime, merge::Cluster& cluster, merge::Catalog& catalog,
                         ByteBudget& read_budget, merge::StreamOptions stream,
                         RelayMetrics& metrics, RelayOptions options)
    : runtime_(runtime),
      cluster_(cluster),
      options_(std::move(options)),
      metrics_(metrics),
      usage_(options_.limits.request_bytes),
      readers_(runtime, cluster, catalog, read_budget, metrics.all, stream),
      services_{runtime, readers_, usage_, metrics_, options_.limits, options_.times,
                options_.ahead_bytes, options_.redirects ? kOwnMark : 0,
                // So that a client that talks to a restarted daemon does not take one stream for
                // another.
                kFirstStream + static_cast<int64_t>(runtime.random() % 1'000'000'000) * 1000},
      acceptor_(runtime.context()),
      gate_(runtime, "relay") {
  metrics_.show({[this] { return redirects_ ? 1.0 : 0.0; },
                 [this] { return static_cast<double>(connections_.size()); },
                 [this] { return static_cast<double>(readers_.held_bytes()); }});
}

RelayServer::~RelayServer() {
  const auto none = [] { return 0.0; };
  metrics_.show({none, none, none});
}

Status RelayServer::listen() {
  boost::system::error_code error;
  // Redirected connections arrive here; nobody else on the network can.
  const tcp::endpoint endpoint(asio::ip::address_v4::loopback(), 0);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return make_error(Code::kConfig,
                      fmt::format("cannot listen for the relay on 127.0.0.1: {}", error.message()));
  port_ = acceptor_.local_endpoint(error).port();
  if (!options_.redirects) return ok();
  Redirect::Options redirect{options_.service.port, std::nullopt, port_};
  const auto own = asio::ip::make_address(options_.service.host, error);
  if (!error && own.is_v4() && !own.is_unspecified())
    redirect.own_address = in_addr{htonl(own.to_v4().to_uint())};
  TRY_ASSIGN(redirect_, Redirect::make(redirect));
  return ok();
}

void RelayServer::start() {
  gate_.spawn(accept_forever());
  gate_.spawn(watch_forever());
  gate_.spawn(resolve_forever());
  if (!redirect_) return;
  gate_.spawn(refresh_forever());
  log_info(
      "relay.started",
      {{"table", redirect_->table()}, {"service_port", options_.service.port}, {"port", port_}});
}

Task<void> RelayServer::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  for (RelayConnection* connection : connections_) connection->close();
  const TimePoint deadline = runtime_.now() + options_.limits.stop_timeout;
  while (!connections_.empty() && runtime_.now() < deadline)
    co_await sleep_for(runtime_, std::chrono::milliseconds(5));
  co_await gate_.close();
  // After whoever refreshes it has ended.
  if (redirect_) redirect_->remove();
  redirects_ = false;
  co_await readers_.close();
}

std::optional<tcp::endpoint> RelayServer::meant_for(const tcp::socket& socket) const {
  if (options_.origin) return options_.origin;
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockopt(const_cast<tcp::socket&>(socket).native_handle(), SOL_IP, SO_ORIGINAL_DST,
                   &address, &size) != 0)
    return std::nullopt;
  const tcp::endpoint meant(asio::ip::address_v4(ntohl(address.sin_addr.s_addr)),
                            ntohs(address.sin_port));
  // Somebody came here directly.
  if (meant.port() == port_ && meant.address().is_loopback()) return std::nullopt;
  return meant;
}

std::optional<merge::NodeTag> RelayServer::node_at(const asio::ip::address& address) const {
  for (const merge::PeerHealth& peer : cluster_.health()) {
    if (peer.name.str().empty()) continue;
    const std::string host = host_of(peer.address);
    if (host == address.to_string()) return merge::tag_of(peer.name);
    const auto found = resolved_.find(host);
    if (found != resolved_.end() && std::ranges::count(found->second, address) > 0)
      return merge::tag_of(peer.name);
  }
  return std::nullopt;
}

Task<void> RelayServer::resolve_forever() {
  tcp::resolver resolver(runtime_.context());
  while (true) {
    for (const merge::PeerHealth& peer : cluster_.health()) {
      const std::string host = host_of(peer.address);
      boost::system::error_code is_name;
      (void)asio::ip::make_address(host, is_name);
      if (!is_name || host.empty()) continue;
      const auto [error, found] = co_await resolver.async_resolve(host, "", kAsTuple);
      if (error) continue;
      auto& addresses = resolved_[host];
      addresses.clear();
      for (const auto& entry : found) addresses.push_back(entry.endpoint().address());
    }
    co_await sleep_for(runtime_, kResolveInterval);
  }
}

Task<void> RelayServer::accept_forever() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(kAsTuple);
    if (!acceptor_.is_open()) co_return;
    if (error) {
      log_limited(LogLevel::kWarning, "relay.accept_failed", {{"reason", error.message()}});
      co_await sleep_for(runtime_, options_.limits.accept_pause);
      continue;
    }
    const auto origin = meant_for(socket);
    if (!origin) continue;  // closes it
    if (connections_.size() >= options_.limits.connections) {
      log_limited(LogLevel::kWarning, "relay.too_many_connections",
                  {{"limit", options_.limits.connections}, {"remedy", "raise spark.connections"}});
      continue;
    }
    metrics_.connections.add();
    const auto node = node_at(origin->address());
    if (!node)
      log_limited(LogLevel::kWarning, "relay.unknown_node",
                  {{"address", origin->address().to_string()},
                   {"consequence", "nothing of it is read merged: no member has this address"}});
    gate_.spawn(
        serve(std::make_shared<RelayConnection>(services_, std::move(socket), *origin, node)));
  }
}

Task<void> RelayServer::serve(std::shared_ptr<RelayConnection> connection) {
  struct Listed {
    std::set<RelayConnection*>& all;
    RelayConnection* one;
    Listed(std::set<RelayConnection*>& set, RelayConnection* connection)
        : all(set), one(connection) {
      all.insert(one);
    }
    ~Listed() { all.erase(one); }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;
  };
  const Listed listed(connections_, connection.get());
  co_await RelayConnection::run(connection);
}

Task<void> RelayServer::watch_forever() {
  while (true) {
    co_await sleep_for(runtime_, options_.limits.watch_interval);
    const TimePoint now = runtime_.now();
    for (RelayConnection* connection : connections_) connection->watch(now);
    readers_.clean_up();
  }
}

Task<void> RelayServer::refresh_forever() {
  while (true) {
    const Status refreshed = co_await offload(runtime_, [this] { return redirect_->refresh(); });
    redirects_ = static_cast<bool>(refreshed);
    if (!refreshed)
      log_limited(LogLevel::kWarning, "relay.not_refreshed",
                  {{"reason", refreshed.error().message}});
    co_await sleep_for(runtime_, kRefreshInterval);
  }
}

RelayStatus RelayServer::status() const {
  RelayStatus status{redirects_, connections_.size(), 0};
  for (const RelayConnection* connection : connections_) status.streams += connection->streams();
  return status;
}

}  // namespace shufflefs::net::relay
