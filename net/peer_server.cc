#include "net/peer_server.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "net/handshake.h"
#include "net/message_fields.h"

namespace shufflefs::net {
namespace {

constexpr Duration kRefusalTimeout = std::chrono::seconds(1);

}  // namespace

HalfOpen::Entry::Entry(HalfOpen& owner, Connection& connection, std::string address)
    : owner_(owner), connection_(connection), address_(std::move(address)) {
  owner_.make_room(address_);
  place_ = owner_.entries_.insert(owner_.entries_.end(), this);
  ++owner_.per_address_[address_];
}

HalfOpen::Entry::~Entry() { owner_.remove(*this); }

void HalfOpen::remove(Entry& entry) {
  if (std::exchange(entry.gone_, true)) return;
  entries_.erase(entry.place_);
  const auto counted = per_address_.find(entry.address_);
  if (--counted->second == 0) per_address_.erase(counted);
}

void HalfOpen::make_room(const std::string& address) {
  const auto counted = per_address_.find(address);
  Entry* oldest = nullptr;
  if (counted != per_address_.end() && counted->second >= max_per_address_) {
    oldest = *std::ranges::find_if(entries_,
                                   [&](const Entry* entry) { return entry->address_ == address; });
  } else if (entries_.size() >= max_) {
    oldest = entries_.front();
  }
  if (oldest == nullptr) return;
  remove(*oldest);
  oldest->connection_.close();
}

PeerServer::PeerServer(Context context, merge::NodeApi& local)
    : context_(std::move(context)),
      local_(local),
      metrics_(context_.metrics),
      acceptor_(tcp::acceptor(context_.runtime.context())),
      half_open_(context_.options.max_handshakes, context_.options.max_handshakes_per_address),
      gate_(context_.runtime, "peer_server") {}

Status PeerServer::listen(const HostPort& address) {
  boost::system::error_code error;
  auto bad = [&](std::string_view remedy) {
    return make_error(Code::kConfig, fmt::format("cannot listen for peers on {}: {}: {}",
                                                 to_string(address), error.message(), remedy));
  };
  const auto numeric = asio::ip::make_address(address.host, error);
  if (error) return bad("--peer-listen takes a numeric address, e.g. 0.0.0.0:7338");
  const tcp::endpoint endpoint(numeric, address.port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return bad("is another daemon running here? choose another address with --peer-listen");
  port_ = acceptor_.local_endpoint(error).port();
  return ok();
}

void PeerServer::start() { gate_.spawn(accept_loop()); }

Task<void> PeerServer::stop() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  co_await gate_.close();
}

Task<void> PeerServer::accept_loop() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept();
    if (!acceptor_.is_open()) co_return;
    if (error) {
      // Out of descriptors, or a connection that was gone before it was accepted: others must still
      // get in, later.
      log_limited(LogLevel::kWarning, "peer.accept_failed", {{"reason", error.message()}});
      co_await sleep_for(context_.runtime, context_.options.accept_pause);
      continue;
    }
    if (connections_ >= context_.options.max_server_connections) {
      metrics_.connections_refused.add();
      log_limited(LogLevel::kWarning, "peer.too_many_connections",
                  {{"limit", context_.options.max_server_connections}});
      continue;  // closes it
    }
    metrics_.connections_accepted.add();
    gate_.spawn(serve(std::make_unique<Connection>(context_.runtime, context_.budget, metrics_,
                                                   Socket(std::move(socket)))));
  }
}

Task<void> PeerServer::serve(std::unique_ptr<Connection> connection) {
  struct Counted {
    std::size_t& count;
    explicit Counted(std::size_t& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
  };
  const Counted counted(connections_);
  auto caller = co_await greet(*connection);
  const Status status = caller ? co_await answer_requests(*connection, *std::move(caller))
                               : Status(std::move(caller).error());
  if (status) co_return;
  const Error& error = status.error();
  if (error.code == Code::kPeerUnreachable || error.code == Code::kCancelled) {
    log_debug("peer.connection_lost",
              {{"remote", connection->remote()}, {"reason", error.message}});
    co_return;
  }
  if (error.code == Code::kTimeout) metrics_.timeouts.add();
  log_limited(LogLevel::kWarning,
              error.code == Code::kTimeout      ? "peer.stalled"
              : error.code == Code::kPermission ? "peer.refused"
                                                : "peer.protocol_error",
              {{"remote", connection->remote()},
               {"code", to_string(error.code)},
               {"reason", error.message}});
}

Task<void> PeerServer::send_refusal(std::reference_wrapper<Connection> connection,
                                    Error error) const {
  const TimePoint deadline = context_.runtime.now() + kRefusalTimeout;
  if (co_await connection.get().send_last(encode_error_head(error), deadline)) {
    co_await connection.get().linger(kRefusalTimeout);
  }
}

// A stranger is told what is wrong, unless it is gone, or has given way to others.
Task<Result<merge::NodeName>> PeerServer::greet(std::reference_wrapper<Connection> connection) {
  const TimePoint deadline = context_.runtime.now() + context_.options.hello_timeout;
  const HalfOpen::Entry entry(half_open_, connection, connection.get().remote_host());
  const auto caller = co_await greet_caller(context_, connection, deadline);
  if (caller) {
    if (context_.members) context_.members->met(record_of(*caller), connection.get().remote_host());
    if (on_hello_) on_hello_(caller->sender.name);
    co_return caller->sender.name;
  }
  Error error = caller.error();
  if (entry.gave_way()) {
    metrics_.handshakes_crowded_out.add();
    co_return make_error(Code::kCancelled, "too many connections have begun a handshake");
  }
  if (error.code == Code::kPeerUnreachable && !connection.get().heard()) co_return error;
  if (error.code == Code::kPermission || error.code == Code::kWrongPeer)
    metrics_.handshakes_refused.add();
  // Frames that could not even be received have been counted.
  if ((error.code == Code::kProtocol || error.code == Code::kVersion) && connection.get().usable())
    metrics_.protocol_errors.add();
  co_await send_refusal(connection, error);
  co_return error;
}

ReceiveRules PeerServer::request_rules() const {
  return {.first_byte_by = context_.runtime.now() + context_.options.server_idle,
          .rest_within = context_.options.frame_timeout,
          .limits = [most = context_.options.max_payload_bytes](
                        uint16_t type) { return request_limits(type, most); },
          .budget_patience = context_.options.budget_patience};
}

// No memory for the request: the peer shall try later. Who pushes is told when.
Bytes PeerServer::refusal_head(const Error& error, uint16_t type) const {
  if (error.code != Code::kNoMemory || type != request_number(MessageType::kPush))
    return encode_error_head(error);
  merge::PushReply busy;
  busy.busy_ms = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(context_.options.busy_pause).count());
  return encode_frame_head(response_number(MessageType::kPush), encode(busy), {});
}

Task<Status> PeerServer::answer_requests(std::reference_wrapper<Connection> connection,
                                         merge::NodeName caller) {
  while (true) {
    auto frame = co_await connection.get().receive(request_rules());
    Reply reply;
    if (frame) {
      metrics_.answered(static_cast<MessageType>(frame->type)).add();
      reply = co_await dispatch({local_, context_.self.incarnation, caller, context_.members.get()},
                                *std::move(frame));
    } else if (connection.get().usable()) {
      reply.head = refusal_head(frame.error(), connection.get().refused_type());
    } else {
      if (!connection.get().heard()) co_return ok();  // closed or idle between two requests
      co_await send_refusal(connection, frame.error());
      co_return std::move(frame).error();
    }
    if (reply.malformed) {
      metrics_.protocol_errors.add();
      co_await send_refusal(connection, *reply.malformed);
      co_return *std::move(reply.malformed);
    }
    const TimePoint deadline = context_.runtime.now() + context_.options.frame_timeout;
    CO_TRY(co_await connection.get().send(std::move(reply.head), reply.payload.span(), deadline));
  }
}

}  // namespace shufflefs::net
