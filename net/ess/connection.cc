#include "net/ess/connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>

#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::net::ess {
namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = std::size_t{64} << 10U;
// Of what a connection keeps unaccounted.
constexpr std::size_t kFreeBytes = std::size_t{4} << 10U;

void set_option(int socket, int level, int name, int value) {
  // A socket that refuses an option is about to fail with a better message.
  (void)::setsockopt(socket, level, name, &value, sizeof(value));
}

std::string address_of(const asio::ip::tcp::socket& socket) {
  boost::system::error_code failed;
  const auto peer = socket.remote_endpoint(failed);
  return failed ? "unknown" : to_string(HostPort{peer.address().to_string(), peer.port()});
}

}  // namespace

EssConnection::EssConnection(Services& services, Socket socket, std::unique_ptr<ServerAuth> auth)
    : services_(services),
      socket_(std::move(socket)),
      remote_(address_of(socket_)),
      outbox_({services.runtime, services.files, services.read_ahead, services.metrics,
               services.limits},
              socket_.native_handle()),
      session_(services, outbox_),
      auth_(std::move(auth)),
      opened_(services.runtime.now()),
      writer_wakes_(services.runtime.make_timer()),
      reader_wakes_(services.runtime.make_timer()) {
  boost::system::error_code ignored;
  socket_.native_non_blocking(true, ignored);
  const int fd = socket_.native_handle();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // A client whose machine has died is noticed after four minutes: idle connections are never
  // closed otherwise.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 120);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

EssConnection::~EssConnection() = default;

void EssConnection::close() {
  closed_ = true;
  // Not socket_.close(): a sender may be using the descriptor.
  (void)::shutdown(socket_.native_handle(), SHUT_RDWR);
  writer_wakes_->wake();
  reader_wakes_->wake();
}

void EssConnection::report(const Error& error) {
  if (error.code == Code::kCancelled || error.code == Code::kPeerUnreachable) {
    log_debug("spark.connection_lost", {{"remote", remote_}, {"reason", error.message}});
    return;
  }
  if (error.code == Code::kTooLarge) services_.metrics.limit_closes.add();
  if (error.code == Code::kProtocol) services_.metrics.protocol_errors.add();
  log_limited(LogLevel::kWarning, "spark.connection_closed",
              {{"remote", remote_}, {"code", to_string(error.code)}, {"reason", error.message}});
}

Task<void> EssConnection::read_forever(std::shared_ptr<EssConnection> self) {
  const Status status = co_await self->read();
  if (!status) {
    self->report(status.error());
    if (status.error().code == Code::kRefused || self->client_ended_) co_await self->finish();
  }
  self->close();
}

Task<Status> EssConnection::read() {
  while (!closed_) {
    co_await wait_for_room();
    const auto [error] = co_await socket_.async_wait(Socket::wait_read, kToken);
    if (error || closed_) co_return make_error(Code::kCancelled, "the connection was closed here");
    std::array<std::byte, kReadBytes> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init)
    const ssize_t n = ::recv(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) continue;
    if (n < 0) co_return make_error(Code::kPeerUnreachable, errno_error("receiving").message);
    if (n == 0) {
      // It may only have ended its own side: what it has asked for is still sent.
      client_ended_ = true;
      co_return make_error(Code::kPeerUnreachable, "the client closed the connection");
    }
    CO_TRY(keep(std::span(bytes).first(static_cast<std::size_t>(n))));
    const Status taken = co_await take_frames();
    send_responses();
    CO_TRY(taken);
  }
  co_return make_error(Code::kCancelled, "the connection was closed here");
}

// A client that asks faster than it takes is not read until it has taken more.
Task<void> EssConnection::wait_for_room() {
  while (!closed_ && !outbox_.has_room()) co_await reader_wakes_->wait_for(std::chrono::seconds(1));
}

Status EssConnection::keep(std::span<const std::byte> bytes) {
  if (input_.empty()) input_since_ = services_.runtime.now();
  if (cipher_) return cipher_->open(bytes, input_);
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  return ok();
}

Task<Status> EssConnection::take_frames() {
  std::size_t at = 0;
  while (!closed_ && input_.size() - at >= kLengthBytes) {
    const std::size_t max_bytes =
        auth_ ? kMaxAuthFrameBytes - kLengthBytes : services_.limits.frame_bytes;
    const auto rest = std::span<const std::byte>(input_).subspan(at);
    CO_TRY_ASSIGN(const std::size_t size, decode_length(rest.first<kLengthBytes>(), max_bytes));
    if (rest.size() - kLengthBytes < size) break;
    at += kLengthBytes + size;
    const bool was_open = cipher_ == nullptr;
    CO_TRY(co_await take_frame(rest.subspan(kLengthBytes, size)));
    if (was_open && cipher_) {
      // What was read behind the last message of the handshake is sealed already.
      const Bytes sealed(input_.begin() + static_cast<std::ptrdiff_t>(at), input_.end());
      input_.clear();
      at = 0;
      CO_TRY(cipher_->open(sealed, input_));
    }
  }
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
  if (at > 0) input_since_ = services_.runtime.now();
  if (input_.empty() && input_.capacity() > kFreeBytes) input_ = Bytes();
  const uint64_t kept = input_.capacity() > kFreeBytes ? input_.capacity() : 0;
  if (!input_share_.resize(services_.usage, kept))
    co_return services_.usage.refused("a request", kept);
  co_return ok();
}

Task<Status> EssConnection::take_frame(std::span<const std::byte> bytes) {
  CO_TRY_ASSIGN(const ClientFrame frame, decode_frame(bytes));
  if (auth_) co_return authenticate(frame);
  if (const auto* chunk = std::get_if<ChunkFetchRequest>(&frame)) co_return session_.chunk(*chunk);
  if (const auto* stream = std::get_if<StreamRequest>(&frame)) co_return session_.stream(*stream);
  if (const auto* rpc = std::get_if<RpcRequest>(&frame)) {
    // It may wait for a disk: the responses before it go out meanwhile.
    send_responses();
    co_return co_await session_.rpc(*rpc);
  }
  co_return session_.refuse(frame);
}

Status EssConnection::authenticate(const ClientFrame& frame) {
  auto refused = [&](std::string_view why) {
    services_.metrics.auth_failures.add();
    return make_error(Code::kRefused, std::string(why));
  };
  const auto* rpc = std::get_if<RpcRequest>(&frame);
  if (rpc == nullptr) {
    if (const auto* upload = std::get_if<UploadStream>(&frame))
      outbox_.push(rpc_failure(upload->id, kUnauthenticatedUpload));
    if (const auto* meta = std::get_if<MergedBlockMetaRequest>(&frame))
      outbox_.push(rpc_failure(meta->id, kUnauthenticatedOneWay));
    if (const auto* chunk = std::get_if<ChunkFetchRequest>(&frame))
      outbox_.push(chunk_failure(chunk->stream, chunk->chunk, kUnauthenticatedOneWay));
    if (const auto* stream = std::get_if<StreamRequest>(&frame))
      outbox_.push_in_order(stream_failure(stream->stream, kUnauthenticatedOneWay));
    return refused(kUnauthenticatedOneWay);
  }
  const AuthResponse response = auth_->receive(rpc->body);
  outbox_.push(response.refusal ? rpc_failure(rpc->id, *response.refusal)
                                : rpc_response(rpc->id, response.reply));
  if (response.close) return refused(response.refusal.value_or("the handshake failed"));
  if (response.refusal) services_.metrics.auth_failures.add();
  if (!response.done) return ok();
  // The last response leaves in the clear, before the cipher is there. A client that follows the
  // protocol has taken the responses before it.
  if (pumping_ || waits_for_client_ || !outbox_.send_now() || outbox_.has_work())
    return make_error(Code::kPeerUnreachable,
                      "the client does not take the handshake's last response");
  session_.set_client(auth_->app_id());
  cipher_ = auth_->take_cipher();
  if (cipher_) outbox_.encrypt(cipher_.get());
  auth_.reset();
  return ok();
}

// Sends at once what needs no disk, and leaves the rest to the writer.
void EssConnection::send_responses() {
  if (!pumping_ && !waits_for_client_ && !outbox_.send_now()) close();
  writer_wakes_->wake();
}

Task<void> EssConnection::finish() {
  send_responses();
  // As long as the client takes it; watch() ends it otherwise.
  while (!closed_ && (pumping_ || outbox_.has_work()))
    co_await reader_wakes_->wait_for(std::chrono::seconds(1));
  ending_ = services_.runtime.now();
  (void)::shutdown(socket_.native_handle(), SHUT_WR);
  // Closing while bytes of the client are unread would reset the connection before it has seen our
  // last frame. watch() ends the wait.
  std::array<std::byte, 4096> unread{};
  while (!closed_) {
    const auto [error] = co_await socket_.async_wait(Socket::wait_read, kToken);
    if (error || ::recv(socket_.native_handle(), unread.data(), unread.size(), MSG_DONTWAIT) == 0)
      co_return;
  }
}

Task<void> EssConnection::write_forever(std::shared_ptr<EssConnection> self) {
  std::size_t lane = 0;
  while (!self->closed_) {
    if (!self->outbox_.has_work()) {
      co_await self->writer_wakes_->wait_for(std::chrono::hours(1));
      continue;
    }
    self->pumping_ = true;
    const Outbox::Pumped pumped = co_await self->services_.files.run_on(
        lane, [&outbox = self->outbox_, lane] { return outbox.pump(lane); });
    self->pumping_ = false;
    lane = pumped.lane;
    self->reader_wakes_->wake();
    if (pumped.why == Outbox::Pumped::Why::kFailed) self->close();
    if (pumped.why != Outbox::Pumped::Why::kBlocked) continue;
    self->waits_for_client_ = true;
    (void)co_await self->socket_.async_wait(Socket::wait_write, kToken);
    self->waits_for_client_ = false;
  }
}

void EssConnection::watch(TimePoint now) {
  if (closed_) return;
  const EssLimits& limits = services_.limits;
  auto end = [&](Counter& counter, std::string_view why) {
    counter.add();
    log_limited(LogLevel::kWarning, "spark.connection_stalled",
                {{"remote", remote_}, {"reason", why}});
    close();
  };
  if (ending_ && now - *ending_ > limits.stop_timeout) return close();
  if (!input_.empty() && !client_ended_ && now - input_since_ > limits.frame_timeout &&
      outbox_.has_room())
    return end(services_.metrics.slow_clients, "half a frame, and nothing after it");
  if (auth_ && now - opened_ > limits.auth_timeout)
    return end(services_.metrics.auth_failures, "the handshake did not end");
  const auto waits = pumping_            ? Outbox::Waits::kForDisk
                     : waits_for_client_ ? Outbox::Waits::kForClient
                                         : Outbox::Waits::kForNothing;
  switch (outbox_.watch(now, waits)) {
    case Outbox::Health::kGood: break;
    case Outbox::Health::kSlowClient:
      return end(services_.metrics.slow_clients, "the client takes nothing");
    case Outbox::Health::kSlowDisk:
      return end(services_.metrics.slow_disks, "a disk does not answer");
  }
}

}  // namespace shufflefs::net::ess
