#include "tests/net/support.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "net/hello.h"

namespace shufflefs::net::testing {

void Reactor::until(const std::function<bool()>& reached) {
  const auto give_up = std::chrono::steady_clock::now() + 20s;
  while (!reached()) {
    runtime.context().run_one_for(50ms);
    if (std::chrono::steady_clock::now() > give_up) FAIL("waited for 20 s in vain");
  }
}

void Reactor::run(Task<void> task) {
  bool done = false;
  std::exception_ptr failure;
  asio::co_spawn(runtime.executor(), std::move(task), [&](std::exception_ptr thrown) {
    failure = thrown;
    done = true;
  });
  until([&] { return done; });
  if (failure) std::rethrow_exception(failure);
}

// ---- servers, askers, strangers
// -------------------------------------------------------------------------------------

Served::Served(Reactor& reactor_of_test, std::string_view name, uint64_t incarnation,
               std::string_view listen_host, NetOptions options, uint16_t port)
    : reactor(reactor_of_test),
      host(listen_host),
      server(reactor.context(name, incarnation, options), node) {
  const Status listening = server.listen({host, port});
  INFO((listening ? std::string() : listening.error().message));
  REQUIRE(listening);
  server.start();
}

Served::~Served() { reactor.run(server.stop()); }

Asker::Asker(Reactor& reactor, std::string_view expected, HostPort address, NetOptions options)
    : peer(std::make_shared<RemotePeer>(
          reactor.context("asker", 99, options), std::string(expected), std::move(address),
          [this](const NodeIdentity& who) { heard.push_back(who); })) {}

void RawSocket::connect(const HostPort& address) {
  socket_.connect({asio::ip::make_address(address.host), address.port});
}

void RawSocket::accept(asio::ip::tcp::acceptor& acceptor) {
  bool done = false;
  acceptor.async_accept(socket_, [&](const boost::system::error_code& error) {
    REQUIRE(!error);
    done = true;
  });
  reactor_.until([&] { return done; });
}

void RawSocket::send(std::span<const std::byte> bytes) {
  bool done = false;
  asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()),
                    [&](const boost::system::error_code&, std::size_t) { done = true; });
  reactor_.until([&] { return done; });
}

std::string RawSocket::receive_all() {
  std::string received;
  bool done = false;
  asio::async_read(socket_, asio::dynamic_buffer(received),
                   [&](const boost::system::error_code&, std::size_t) { done = true; });
  reactor_.until([&] { return done; });
  return received;
}

Bytes RawSocket::receive(std::size_t count) {
  Bytes received(count);
  bool done = false;
  asio::async_read(socket_, asio::buffer(received),
                   [&](const boost::system::error_code& error, std::size_t) {
                     CHECK(!error);
                     done = true;
                   });
  reactor_.until([&] { return done; });
  return received;
}

std::pair<uint16_t, Bytes> RawSocket::receive_frame() {
  const Bytes raw = receive(kPrefixBytes);
  const auto prefix = decode_prefix(std::span(raw).first<kPrefixBytes>());
  REQUIRE(prefix);
  REQUIRE(check_limits(*prefix, {65536, 65536}));
  Bytes header = receive(prefix->header_bytes);
  (void)receive(prefix->payload_bytes);
  return {prefix->type, std::move(header)};
}

asio::ip::tcp::acceptor listen_on(Reactor& reactor, std::string_view host) {
  return {reactor.runtime.context(), {asio::ip::make_address(host), 0}};
}

Bytes frame_of(MessageType type, const Bytes& header, std::span<const std::byte> payload) {
  Bytes frame = encode_frame_head(request_number(type), header, payload);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

}  // namespace shufflefs::net::testing
