// The start of a connection between nodes: TLS if it is configured, hello, response, and with a
// shared secret the proofs of both sides. No other message is parsed before it is over.
//
//   caller -> callee   hello: who I am, whom I mean, a nonce
//   callee -> caller   response: who I am, a nonce
//   caller -> callee   prove: HMAC over both                    (only with a secret, as well as
//   callee -> caller   response: HMAC over both                  its response)
//
// The caller proves first, so that a stranger who connects gets nothing to try guesses on.
//
// dial() makes a connection up to there. The callee is a member from then on (Context::members).
//
// Threads: reactor; the functions without a Task from any thread; the system's resolver runs on a
// thread of Asio's. Failure: kPermission with the remedy where a side has no, another, or an
// unexpected secret or certificate; kVersion ("upgrade the older one"), kWrongPeer, kProtocol,
// kTimeout. Cost: two round trips; a few KiB until the first byte has come, about 60 KiB with TLS
// after it.
#pragma once

#include <memory>
#include <vector>

#include "base/parse.h"
#include "net/connection.h"
#include "net/messages.h"

namespace shufflefs::net {

// The caller's side. An empty `expected` accepts any callee. REQUIRES here and below: context and
// connection outlive the call.
[[nodiscard]] Task<Result<HelloResponse>> greet_callee(
    std::reference_wrapper<const Context> context, std::reference_wrapper<Connection> connection,
    std::string expected, TimePoint deadline);
// The callee's side.
[[nodiscard]] Task<Result<Hello>> greet_caller(std::reference_wrapper<const Context> context,
                                               std::reference_wrapper<Connection> connection,
                                               TimePoint deadline);

// The addresses of a host name: not empty, in the resolver's order, without repetitions. The
// timeout holds even while the system's resolver hangs.
[[nodiscard]] Task<Result<std::vector<tcp::endpoint>>> resolve(AsioRuntime& runtime,
                                                               HostPort address, Duration timeout);

struct Dialed {
  std::unique_ptr<Connection> connection;
  HelloResponse hello;
};

// `expected` may be empty: whoever answers there. REQUIRES: context and metrics outlive the call.
[[nodiscard]] Task<Result<Dialed>> dial(const Context& context, PeerMetrics& metrics,
                                        HostPort address, std::string expected, TimePoint deadline);

// ---- the messages ----

// Nothing after the version is read if it is not ours.
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> header);
[[nodiscard]] Result<HelloResponse> decode_hello_response(std::span<const std::byte> header);
[[nodiscard]] MemberRecord record_of(const Hello& hello);
[[nodiscard]] MemberRecord record_of(const HelloResponse& hello);
// The callee's check: does the caller mean this node?
[[nodiscard]] Status check_hello(const Hello& hello, const NodeIdentity& self);
// The caller's check: is the callee the expected node?
[[nodiscard]] Status check_hello_response(const HelloResponse& hello, std::string_view expected);

}  // namespace shufflefs::net
