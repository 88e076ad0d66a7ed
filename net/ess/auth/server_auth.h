// The server's half of Spark's authentication, for one connection, without a socket: SASL
// DIGEST-MD5 (spark.authenticate alone) and the AuthEngine handshake
// (spark.network.crypto.enabled), told apart by the first byte of the first message. Which of
// AES/CTR and AES/GCM, and which version of the engine an application uses is not negotiated by
// Spark but configured; it is recognised from the first bytes that the application sends encrypted,
// so that applications with different settings can share a daemon.
//
// Use, where --spark-secret-file is given (without it, no ServerAuth is made and nothing is
// checked; the first byte of a handshake is then an unknown message type as any other):
//
//   ServerAuth auth(secret, policy);
//   // Until auth.done(), the body of *every* RpcRequest goes here and nowhere else:
//   AuthAnswer answer = auth.receive(body);
//   // 1. send RpcResponse{requestId, answer.reply}, or RpcFailure{requestId, *answer.refusal}
//   // 2. if answer.close: close once that is sent, without reading on
//   // 3. if answer.done: the answer of 1 is still in the clear. From then on each byte in either
//   //    direction goes through cipher = auth.take_cipher(), unless that is nullptr (SASL with qop
//   //    "auth": authenticated but not encrypted, so sendfile stays possible). Bytes that were
//   read
//   //    behind the frame of the last handshake message belong to the cipher as well. Then
//   //    auth.app_id() is what every message's application must equal: see not_authorized().
//
// Anything but an RpcRequest that comes before done():
//   OneWayMessage          no answer exists: log and close. (Java logs kUnauthenticatedOneWay.)
//   UploadStream           RpcFailure kUnauthenticatedUpload, close.
//   ChunkFetchRequest, StreamRequest, MergedBlockMetaRequest
//                          their failure message with kUnauthenticatedOneWay, close. (Java looks up
//                          the stream and finds none; it has nothing to close over.)
// A handshake that does not finish within spark.network.auth.rpcTimeout (30 s) is the caller's to
// end, as is the limit kMaxAuthFrameBytes for a frame before done().
//
// Threads: one connection, one thread at a time; no I/O, never blocks. A handshake costs about 0.2
// ms (X25519, HKDF) or 0.02 ms (DIGEST-MD5). Ownership: the connection's. Failure: what the other
// side does wrong is a refusal, never an Error; refusals have the texts of the JVM service (class
// name, colon, message; no stack trace). Cost: below 4 KiB per connection; lengths in messages are
// checked against what has arrived. Keys and secrets are wiped; digests and tags are compared in
// constant time. Source: spark-facts 1.8, 1.9; Spark 3.5.7 network.crypto, network.sasl; RFC 2831,
// 5869, 7748.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/ess/auth/auth_secret.h"
#include "net/ess/auth/cipher.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

// What a frame may have (its own 8 bytes included) before authentication is done. The longest
// message of Spark's client is below 1 KiB.
inline constexpr std::size_t kMaxAuthFrameBytes = std::size_t{16} << 10U;

inline constexpr std::string_view kUnauthenticatedOneWay =
    "java.lang.SecurityException: Unauthenticated call to receive().";
inline constexpr std::string_view kUnauthenticatedUpload =
    "java.lang.SecurityException: Unauthenticated call to receiveStream().";

// The refusal of a message whose application is not the one that the connection was opened for:
// "java.lang.SecurityException: Client for <client> not authorized for application <app>."
[[nodiscard]] std::string not_authorized(std::string_view client_app, std::string_view wanted_app);

// Defaults are what suits a cluster whose applications may or may not encrypt.
struct AuthPolicy {
  bool engine = true;  // answer AuthEngine; off behaves as spark.network.crypto.enabled=false
  bool sasl = true;    // answer SASL; off behaves as spark.network.crypto.saslFallback=false
  bool require_encryption = false;  // spark.network.sasl.serverAlwaysEncrypt
  std::size_t sasl_piece_bytes =
      64ULL << 10U;  // spark.network.sasl.maxEncryptedBlockSize, 4 KiB to 1 MiB
};

struct AuthAnswer {
  Bytes reply;                         // the RpcResponse's body; meaningful if there is no refusal
  std::optional<std::string> refusal;  // the RpcFailure's text
  bool done = false;                   // this message completed the authentication
  bool close = false;                  // close the connection when the answer is sent
};

class ServerAuth {
 public:
  ServerAuth(std::shared_ptr<const AuthSecret> secret, AuthPolicy policy);
  ~ServerAuth();
  ServerAuth(ServerAuth&&) noexcept;
  ServerAuth& operator=(ServerAuth&&) noexcept;

  // The next handshake message: the body of an RpcRequest. REQUIRES: !done().
  [[nodiscard]] AuthAnswer receive(std::span<const std::byte> body);

  [[nodiscard]] bool done() const;

  // The application that the connection is for; a claim that every holder of the cluster's secret
  // can make. REQUIRES: done().
  [[nodiscard]] const std::string& app_id() const;

  // Once; nullptr if the connection stays in the clear. REQUIRES: done().
  [[nodiscard]] std::unique_ptr<Cipher> take_cipher();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shufflefs::net::ess
