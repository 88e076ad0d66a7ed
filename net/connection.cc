#include "net/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/write.hpp>

#include "base/parse.h"

namespace shufflefs::net {

// While it lives, the socket is closed when the deadline passes. A plain completion instead of a
// coroutine: it does not outlive the State that it shares, and does nothing once its Deadline has
// ended.
class Connection::Deadline {
 public:
  Deadline(std::shared_ptr<State> state, TimePoint at) : state_(std::move(state)) {
    const uint64_t number = ++state_->deadline_number;
    state_->watchdog.expires_at(at);
    state_->watchdog.async_wait([shared = state_, number](const boost::system::error_code& error) {
      if (error || shared->deadline_number != number) return;
      shared->timed_out = true;
      boost::system::error_code ignored;
      shared->socket.close(ignored);
    });
  }
  ~Deadline() {
    ++state_->deadline_number;
    state_->watchdog.cancel();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::shared_ptr<State> state_;
};

Connection::Connection(AsioRuntime& runtime, ByteBudget& budget, PeerMetrics& metrics,
                       Socket socket)
    : runtime_(runtime),
      budget_(budget),
      metrics_(metrics),
      state_(std::make_shared<State>(runtime, std::move(socket))) {
  if (state_->socket.is_open()) set_options();
}

Connection::~Connection() {
  if (!remote_.empty()) metrics_.connections_closed.add();
  close();
}

void Connection::close() {
  state_->closed = true;
  usable_ = false;
  boost::system::error_code ignored;
  state_->socket.close(ignored);
}

// Failures are ignored: a socket that refuses an option is about to fail with a better message.
void Connection::set_options() {
  boost::system::error_code ignored;
  state_->socket.set_option(tcp::no_delay(true), ignored);
  state_->socket.set_option(asio::socket_base::keep_alive(true), ignored);
  boost::system::error_code failed;
  const tcp::endpoint peer = state_->socket.remote_endpoint(failed);
  remote_host_ = failed ? "unknown" : peer.address().to_string();
  remote_ = failed ? "unknown" : to_string(HostPort{remote_host_, peer.port()});
}

Error Connection::failure(std::string_view doing, const boost::system::error_code& error) {
  usable_ = false;
  if (state_->timed_out) {
    return make_error(Code::kTimeout, fmt::format("{}: the deadline passed", doing));
  }
  if (state_->closed || error == asio::error::operation_aborted) {
    return make_error(Code::kCancelled, fmt::format("{}: the connection was closed here", doing));
  }
  if (error == asio::error::eof) {
    return make_error(Code::kPeerUnreachable,
                      fmt::format("{}: the peer closed the connection", doing));
  }
  if (error.category() == asio::error::get_ssl_category() ||
      error.category() == asio::ssl::error::get_stream_category())
    return tls_failure(doing, error);
  return make_error(Code::kPeerUnreachable, fmt::format("{}: {}", doing, error.message()));
}

Error Connection::tls_failure(std::string_view doing, const boost::system::error_code& error) {
  if (error == asio::ssl::error::stream_truncated) {
    return make_error(Code::kPeerUnreachable,
                      fmt::format("{}: the peer closed the connection", doing));
  }
  const long verified =
      state_->tls ? SSL_get_verify_result(state_->tls->native_handle()) : X509_V_OK;
  return make_error(
      Code::kPermission,
      fmt::format("{}: TLS: {}{}: check --tls-cert, --tls-key and --tls-ca of both "
                  "nodes",
                  doing, error.message(),
                  verified == X509_V_OK
                      ? std::string()
                      : fmt::format(" ({})", X509_verify_cert_error_string(verified))));
}

template <class T>
Result<T> Connection::broken(Error error) {
  usable_ = false;
  if (error.code == Code::kProtocol || error.code == Code::kCorruptData)
    metrics_.protocol_errors.add();
  return error;
}

Task<Status> Connection::connect(std::vector<tcp::endpoint> endpoints, TimePoint deadline) {
  const Deadline guard(state_, deadline);
  const auto [error, endpoint] = co_await asio::async_connect(state_->socket, endpoints);
  if (error || state_->timed_out || state_->closed) co_return failure("connecting", error);
  set_options();
  metrics_.connections_opened.add();
  co_return ok();
}

Task<Status> Connection::start_tls(std::shared_ptr<TlsContext> context, Role role,
                                   TimePoint deadline) {
  const Deadline guard(state_, deadline);
  boost::system::error_code error;
  if (role == Role::kCallee) {
    // The buffers of TLS only for whoever says something.
    std::tie(error) = co_await state_->socket.async_wait(tcp::socket::wait_read);
    if (error) co_return failure("waiting for a TLS handshake", error);
  }
  state_->tls = std::make_unique<TlsStream>(state_->socket, *context);
  std::tie(error) = co_await state_->tls->async_handshake(
      role == Role::kCaller ? asio::ssl::stream_base::client : asio::ssl::stream_base::server);
  if (error) co_return failure("the handshake", error);
  state_->tls_ready = true;
  co_return ok();
}

Status Connection::check_certificate(std::string_view node) const {
  return state_->tls ? check_peer_name(state_->tls->native_handle(), node) : ok();
}

Result<Bytes> Connection::channel() const {
  if (!state_->tls) return Bytes();
  return channel_binding(state_->tls->native_handle());
}

Task<Connection::Moved> Connection::write_all(std::array<asio::const_buffer, 2> buffers) {
  if (state_->tls) {
    const auto [error, bytes] = co_await asio::async_write(*state_->tls, buffers);
    co_return Moved{error, bytes};
  }
  const auto [error, bytes] = co_await asio::async_write(state_->socket, buffers);
  co_return Moved{error, bytes};
}

Task<Connection::Moved> Connection::read_all(asio::mutable_buffer into) {
  if (state_->tls) {
    const auto [error, bytes] = co_await asio::async_read(*state_->tls, asio::mutable_buffer(into));
    co_return Moved{error, bytes};
  }
  const auto [error, bytes] = co_await asio::async_read(state_->socket, into);
  co_return Moved{error, bytes};
}

Task<Connection::Moved> Connection::read_some(asio::mutable_buffer into) {
  if (state_->tls) {
    const auto [error, bytes] = co_await state_->tls->async_read_some(into);
    co_return Moved{error, bytes};
  }
  const auto [error, bytes] = co_await state_->socket.async_read_some(into);
  co_return Moved{error, bytes};
}

Task<Status> Connection::send(Bytes head, std::span<const std::byte> payload, TimePoint deadline) {
  if (!usable_) co_return failure("sending", asio::error::operation_aborted);
  heard_ = false;
  const Deadline guard(state_, deadline);
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head),
                                                     asio::buffer(payload.data(), payload.size())};
  const auto [error, sent] = co_await write_all(buffers);
  metrics_.sent_bytes.add(sent);
  if (error) co_return failure("sending", error);
  co_return ok();
}

Task<Status> Connection::send_last(Bytes head, TimePoint deadline) {
  if (state_->tls && !state_->tls_ready) {
    co_return make_error(Code::kPeerUnreachable, "there is no TLS to say it in");
  }
  const Deadline guard(state_, deadline);
  const auto [error, sent] = co_await write_all({asio::buffer(head), asio::const_buffer()});
  metrics_.sent_bytes.add(sent);
  if (error) co_return failure("sending an error", error);
  co_return ok();
}

Task<Result<std::size_t>> Connection::read_first(std::span<std::byte> into, TimePoint deadline) {
  const Deadline guard(state_, deadline);
  const auto [error, got] = co_await read_some(asio::buffer(into.data(), into.size()));
  if (error) co_return failure("waiting for a message", error);
  metrics_.received_bytes.add(got);
  heard_ = true;
  co_return got;
}

Task<Status> Connection::read_exactly(std::span<std::byte> into, TimePoint deadline,
                                      std::string doing) {
  if (into.empty()) co_return ok();
  const Deadline guard(state_, deadline);
  const auto [error, got] = co_await read_all(asio::buffer(into.data(), into.size()));
  metrics_.received_bytes.add(got);
  if (error) co_return failure(doing, error);
  co_return ok();
}

Task<Status> Connection::discard(uint64_t bytes, TimePoint deadline) {
  Bytes scratch(kUnleasedBytes);
  while (bytes > 0) {
    const std::size_t part = std::min<uint64_t>(bytes, scratch.size());
    CO_TRY(co_await read_exactly(std::span(scratch).first(part), deadline,
                                 "reading a frame to throw away"));
    bytes -= part;
  }
  co_return ok();
}

Task<Result<Frame>> Connection::receive(ReceiveRules rules) {
  if (!usable_) co_return failure("receiving", asio::error::operation_aborted);
  heard_ = false;
  std::array<std::byte, kPrefixBytes> raw{};
  std::size_t got = 0;
  CO_TRY_ASSIGN(got, co_await read_first(raw, rules.first_byte_by));
  TimePoint deadline = std::min(rules.whole_by, runtime_.now() + rules.rest_within);
  // The magic by itself first: a stranger's greeting may be shorter than a prefix.
  if (got < kMagicBytes) {
    CO_TRY(co_await read_exactly(std::span(raw).subspan(got, kMagicBytes - got), deadline,
                                 "reading a frame"));
    got = kMagicBytes;
  }
  if (auto magic = check_magic(std::span(raw).first<kMagicBytes>()); !magic) {
    co_return broken<Frame>(std::move(magic).error());
  }
  CO_TRY(co_await read_exactly(std::span(raw).subspan(got), deadline, "reading a frame"));
  auto prefix = decode_prefix(raw);
  if (!prefix) co_return broken<Frame>(std::move(prefix).error());
  auto limits = rules.limits(prefix->type);
  if (!limits) co_return broken<Frame>(std::move(limits).error());
  if (auto within = check_limits(*prefix, *limits); !within)
    co_return broken<Frame>(std::move(within).error());

  ByteBudget::Lease lease;
  const uint64_t total = prefix->header_bytes + prefix->payload_bytes;
  if (total > kUnleasedBytes) {
    const TimePoint asked = runtime_.now();
    auto granted = co_await budget_.acquire(total, rules.budget_patience);
    deadline += runtime_.now() - asked;
    if (!granted) {
      refused_type_ = prefix->type;
      CO_TRY(co_await discard(total, deadline));
      co_return std::move(granted).error();
    }
    lease = *std::move(granted);
  }
  co_return co_await receive_body(*prefix, std::move(lease), deadline);
}

Task<Result<Frame>> Connection::receive_body(FramePrefix prefix, ByteBudget::Lease lease,
                                             TimePoint deadline) {
  Frame frame;
  frame.type = prefix.type;
  frame.header.resize(prefix.header_bytes);
  CO_TRY(co_await read_exactly(frame.header, deadline, "reading a header"));
  if (auto sound = check_header(prefix, frame.header); !sound)
    co_return broken<Frame>(std::move(sound).error());
  if (prefix.payload_bytes == 0) {
    frame.header_lease = std::move(lease);
    co_return frame;
  }
  frame.payload = Buffer(prefix.payload_bytes, std::move(lease));
  CO_TRY(co_await read_exactly(frame.payload.span(), deadline, "reading a payload"));
  if (auto sound = check_payload(prefix, frame.payload.span()); !sound)
    co_return broken<Frame>(std::move(sound).error());
  co_return frame;
}

Task<void> Connection::linger(Duration patience) {
  constexpr uint64_t kMostBytes = 1U << 20U;
  boost::system::error_code failed;
  state_->socket.shutdown(tcp::socket::shutdown_send, failed);
  if (!failed) (void)co_await discard(kMostBytes, runtime_.now() + patience);
  close();
}

bool Connection::stale() {
  std::byte peeked{};
  const ssize_t got = ::recv(state_->socket.native_handle(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

}  // namespace shufflefs::net
