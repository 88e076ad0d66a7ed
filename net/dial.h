// Makes a connection to a peer: name lookup, connect, handshake. Who answers is a member from then
// on (Context::members).
//
// Threads: reactor. Failure: kTimeout, kPeerUnreachable, and what the hello says (kVersion,
// kWrongPeer, kProtocol, kPermission). Cost: three round trips, one more with a secret, two more
// with TLS; bounded by the connect and hello timeouts and the deadline.
#pragma once

#include <memory>

#include "base/parse.h"
#include "net/connection.h"
#include "net/hello.h"

namespace shufflefs::net {

struct Dialed {
  std::unique_ptr<Connection> connection;
  HelloAnswer hello;
};

// `expected` may be empty: whoever answers there. REQUIRES: context and metrics outlive the call.
[[nodiscard]] Task<Result<Dialed>> dial(const Context& context, PeerMetrics& metrics,
                                        HostPort address, std::string expected, TimePoint deadline);

}  // namespace shufflefs::net
