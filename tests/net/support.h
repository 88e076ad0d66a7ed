// What the tests of net/ share: a reactor that is driven by the test, servers, askers, strangers.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <optional>

#include "net/handshake.h"
#include "net/membership.h"
#include "net/message_fields.h"
#include "net/peer_server.h"
#include "net/remote_peer.h"
#include "support/stranger.h"
#include "tests/net/fake_node.h"

namespace shufflefs::net::testing {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): a test header
using Catch::Matchers::ContainsSubstring;

// With what a node's side of a connection needs.
struct Reactor : shufflefs::testing::Loop {
  explicit Reactor(uint64_t budget_bytes = 64 << 20) : budget(runtime, budget_bytes) {}

  [[nodiscard]] Context context(std::string_view name, uint64_t incarnation,
                                NetOptions options = {}) {
    return {runtime, budget, metrics, {node_name(name), incarnation}, options};
  }

  ByteBudget budget;
  Metrics metrics;
};

// A server on a loopback address of its own, with a fake node behind it.
struct Served {
  Served(Reactor& reactor, std::string_view name, uint64_t incarnation, std::string_view host,
         NetOptions options = {}, uint16_t port = 0);
  ~Served();
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  [[nodiscard]] HostPort address() const { return {host, server.port()}; }

  Reactor& reactor;
  std::string host;
  FakeNode node;
  std::shared_ptr<MemberTable> members;
  PeerServer server;
};

// A peer that is asked through real sockets; closed at the end of the test.
struct Asker {
  Asker(Reactor& reactor, std::string_view expected, HostPort address, NetOptions options = {});
  ~Asker() { peer->close(); }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  std::vector<NodeIdentity> heard;
  std::shared_ptr<RemotePeer> peer;
};

// A stranger as a test of frames wants it: connects or accepts, and fails the test where less comes
// than was expected.
class RawSocket {
 public:
  explicit RawSocket(Reactor& reactor) : reactor_(reactor) {}
  void connect(const HostPort& address);
  void accept(asio::ip::tcp::acceptor& acceptor);
  void send(std::span<const std::byte> bytes) { stranger_.value().send(bytes); }
  // Everything until the other side closes.
  std::string receive_all();
  // Exactly that many bytes.
  Bytes receive(std::size_t count);
  // A frame of at most 64 KiB: the type and the header.
  std::pair<uint16_t, Bytes> receive_frame();
  void close() { stranger_.reset(); }

 private:
  Reactor& reactor_;
  std::optional<shufflefs::testing::Stranger> stranger_;
};

asio::ip::tcp::acceptor listen_on(Reactor& reactor, std::string_view host);
inline HostPort address_of(const asio::ip::tcp::acceptor& acceptor) {
  return {acceptor.local_endpoint().address().to_string(), acceptor.local_endpoint().port()};
}
// A frame around a header.
Bytes frame_of(MessageType type, const Bytes& header, std::span<const std::byte> payload = {});

}  // namespace shufflefs::net::testing
