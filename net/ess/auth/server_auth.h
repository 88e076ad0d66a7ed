// The server's half of Spark's authentication for one connection, without a socket: SASL DIGEST-MD5
// (spark.authenticate alone) and the AuthEngine handshake (spark.network.crypto.enabled), told
// apart by the first byte of the first message. With AuthEngine everything that follows is
// encrypted, with SASL nothing is. Applications with different settings can share a daemon.
//
// Use, where --spark-secret-file is given (without it, no ServerAuth is made):
//
//   ServerAuth auth(secret, policy);
//   // Until auth.done(), the body of *every* RpcRequest goes here and nowhere else:
//   AuthResponse response = auth.receive(body);
//   // 1. Send RpcResponse{requestId, response.reply} or RpcFailure{requestId, *response.refusal}.
//   // 2. If response.close: close once that is sent, without reading on.
//   // 3. If response.done: what 1 sends is still in the clear. From then on each byte in either
//   //    direction goes through cipher = auth.take_cipher(), unless that is nullptr; also the
//   bytes
//   //    that were read behind the frame of the last handshake message. Every message's
//   application
//   //    must equal auth.app_id(): see not_authorized().
//
// Anything but an RpcRequest that comes before done() is refused: UploadStream by
// kUnauthenticatedUpload, others by kUnauthenticatedOneWay, and the connection is closed. A
// handshake that does not end within spark.network.auth.rpcTimeout (30 s) is the caller's to end,
// as is a frame above kMaxAuthFrameBytes.
//
// Threads: one connection, one thread at a time; no I/O. Failure: what the other side does wrong is
// a refusal, never an Error, in the words of the JVM service. Cost: 0.2 ms (X25519, HKDF) or 0.02
// ms (DIGEST-MD5), below 4 KiB per connection. Keys and secrets are wiped; digests and tags are
// compared in constant time. Source: spark-facts 1.8, 1.9; Spark 3.5.7 network.crypto,
// network.sasl.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/ess/auth/session_cipher.h"
#include "net/secret_file.h"

namespace shufflefs::net::ess {

// What a frame may have (its own 8 bytes included) before authentication is done. The longest
// message of Spark's client is below 1 KiB.
inline constexpr std::size_t kMaxAuthFrameBytes = std::size_t{16} << 10U;

inline constexpr std::string_view kUnauthenticatedOneWay =
    "java.lang.SecurityException: Unauthenticated call to receive().";
inline constexpr std::string_view kUnauthenticatedUpload =
    "java.lang.SecurityException: Unauthenticated call to receiveStream().";

// The refusal of a message whose application is not the one that the connection was opened for.
[[nodiscard]] std::string not_authorized(std::string_view client_app, std::string_view wanted_app);

// The cluster's secret, the same as spark.authenticate.secret of the applications. One for all: on
// YARN every application has its own, which only YARN's own service learns.
using AuthSecret = SecretText;
// Reads --spark-secret-file (net/secret_file.h). kConfig with the file and the remedy. Blocks.
[[nodiscard]] Result<std::shared_ptr<const AuthSecret>> read_secret_file(
    const std::filesystem::path& file);

struct AuthPolicy {
  bool engine = true;  // off: as with spark.network.crypto.enabled=false
  bool sasl = true;    // off: as with spark.network.crypto.saslFallback=false
};

struct AuthResponse {
  Bytes reply;                         // the RpcResponse's body; meaningful if there is no refusal
  std::optional<std::string> refusal;  // the RpcFailure's text
  bool done = false;                   // this message completed the authentication
  bool close = false;                  // close the connection when the response is sent
};

class ServerAuth {
 public:
  ServerAuth(std::shared_ptr<const AuthSecret> secret, AuthPolicy policy)
      : secret_(std::move(secret)), policy_(policy) {}

  // The next handshake message: the body of an RpcRequest. REQUIRES: !done().
  [[nodiscard]] AuthResponse receive(std::span<const std::byte> body);

  [[nodiscard]] bool done() const { return done_; }
  // The application that the connection is for; a claim that every holder of the cluster's secret
  // can make. REQUIRES: done().
  [[nodiscard]] const std::string& app_id() const { return app_; }
  // Once; nullptr if the connection stays in the clear. REQUIRES: done().
  [[nodiscard]] std::unique_ptr<Cipher> take_cipher() { return std::move(cipher_); }

 private:
  [[nodiscard]] AuthResponse respond(View body);
  [[nodiscard]] AuthResponse engine(const AuthMessage& message);
  [[nodiscard]] AuthResponse sasl(View body);
  [[nodiscard]] AuthResponse complete(Bytes reply);

  const std::shared_ptr<const AuthSecret> secret_;
  const AuthPolicy policy_;
  std::string app_;
  bool done_ = false;
  int refusals_ = 0;
  // Chosen for good by the first message that is not an AuthMessage, as in Java.
  bool is_sasl_ = false;
  bool sasl_is_over_ = false;
  std::optional<std::string> digest_nonce_;  // of the challenge, once it was sent
  std::unique_ptr<Cipher> cipher_;
};

}  // namespace shufflefs::net::ess
