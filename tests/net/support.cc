#include "tests/net/support.h"

#include <algorithm>

#include "net/handshake.h"

namespace shufflefs::net::testing {

// ---- servers, askers, strangers
// -------------------------------------------------------------------------------------

Served::Served(Reactor& reactor_of_test, std::string_view name, uint64_t incarnation,
               std::string_view listen_host, NetOptions options, uint16_t port)
    : reactor(reactor_of_test),
      host(listen_host),
      members(std::make_shared<MemberTable>(reactor.runtime,
                                            MemberTable::Options{{node_name(name), incarnation}})),
      server(
          [&] {
            Context context = reactor.context(name, incarnation, options);
            context.members = members;
            return context;
          }(),
          node) {
  const Status listening = server.listen({host, port});
  INFO((listening ? std::string() : listening.error().message));
  REQUIRE(listening);
  members->set_own_address(address());
  server.start();
}

Served::~Served() { reactor.run(server.stop()); }

Asker::Asker(Reactor& reactor, std::string_view expected, HostPort address, NetOptions options)
    : peer(std::make_shared<RemotePeer>(
          reactor.context("asker", 99, options), std::string(expected), std::move(address),
          [this](const NodeIdentity& who) { heard.push_back(who); })) {}

void RawSocket::connect(const HostPort& address) {
  stranger_.emplace(reactor_, shufflefs::testing::connect_to(address));
}

void RawSocket::accept(asio::ip::tcp::acceptor& acceptor) {
  asio::ip::tcp::socket socket(reactor_.runtime.context());
  bool done = false;
  acceptor.async_accept(socket, [&](const boost::system::error_code& error) {
    REQUIRE(!error);
    done = true;
  });
  reactor_.until([&] { return done; });
  stranger_.emplace(reactor_, Fd(socket.release()));
}

std::string RawSocket::receive_all() {
  const Bytes received = stranger_.value().receive_all();
  return {reinterpret_cast<const char*>(received.data()), received.size()};
}

Bytes RawSocket::receive(std::size_t count) {
  Bytes received = stranger_.value().receive(count);
  REQUIRE(received.size() == count);
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
