// The start of a connection between nodes: TLS if it is configured, hello, answer, and with a
// shared secret the proofs of both sides. Only after it is any other message parsed.
//
//   caller -> callee   hello: who I am, whom I mean, a nonce
//   callee -> caller   answer: who I am, a nonce
//   caller -> callee   prove: HMAC over both                    (only with a secret, as well as
//   callee -> caller   answer: HMAC over both                    its answer)
//
// The caller proves first, so that a stranger who connects gets nothing to try guesses on.
//
// Threads: reactor. Failure: kPermission with the remedy where a side has no, another, or an
// unexpected secret or certificate; kVersion, kWrongPeer, kProtocol as in net/hello.h; kTimeout.
// Cost: two round trips; a few KiB until the first byte has come, about 60 KiB with TLS after it.
#pragma once

#include "net/connection.h"
#include "net/hello.h"

namespace shufflefs::net {

// Who answers. `expected` may be empty: whoever is there. REQUIRES: context and connection outlive
// the call, as in the other one.
[[nodiscard]] Task<Result<HelloAnswer>> greet_callee(std::reference_wrapper<const Context> context,
                                                     std::reference_wrapper<Connection> connection,
                                                     std::string expected, TimePoint deadline);
// Who calls.
[[nodiscard]] Task<Result<Hello>> greet_caller(std::reference_wrapper<const Context> context,
                                               std::reference_wrapper<Connection> connection,
                                               TimePoint deadline);

}  // namespace shufflefs::net
