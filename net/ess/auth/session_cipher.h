// The ciphers of a connection that AuthEngine authenticated: AES/CTR over the whole byte stream, or
// AES/GCM in messages, whatever the application is configured for (spark.network.crypto.cipher,
// spark.network.crypto.authEngineVersion). Spark does not negotiate that: it is told from the first
// nine bytes, which only under the right key and cipher are the beginning of a frame, whose length
// has at least 33 leading zero bits. A wrong guess (once in 2^32 connections) shows as a broken
// frame.
//
//   CO_TRY(cipher->open(what_the_socket_gave, plain));   // then parse frames out of `plain`
//   CO_TRY(cipher->seal(piece, sealed));                 // then write `sealed`, in the same order
//
// Plain bytes are a stream: frames need not agree with the pieces in which they are sealed.
//
// Threads: one connection; open() and seal() on one thread each, as they share no state that
// changes after the first successful open(). Failure: kProtocol, after which the cipher refuses
// everything: close the connection without an answer. Cost: open() keeps at most one segment of
// 32 KiB. Keys are wiped. Source: spark-facts 1.9; Spark's CtrTransportCipher, GcmTransportCipher;
// Tink's description of AES-GCM-HKDF streaming.
#pragma once

#include <memory>

#include "net/ess/auth/auth_engine.h"

namespace shufflefs::net::ess {

class Cipher {
 public:
  Cipher() = default;
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  virtual ~Cipher() = default;

  // How much may be given to seal() at once.
  static constexpr std::size_t kMaxSealBytes = std::size_t{256} << 10U;

  // Appends to `plain` what `sealed`, together with what came before, makes readable: at most as
  // much as was kept and given, perhaps nothing.
  [[nodiscard]] virtual Status open(View sealed, Bytes& plain) = 0;
  // Appends the sealed form of `plain` to `sealed`. REQUIRES: at most kMaxSealBytes; open() has
  // produced something before, as a server never speaks first.
  [[nodiscard]] virtual Status seal(View plain, Bytes& sealed) = 0;
};

// The server's end.
[[nodiscard]] std::unique_ptr<Cipher> make_session_cipher(SessionKeys keys);

// One of the ciphers, for tests as the client's end.
[[nodiscard]] Result<std::unique_ptr<Cipher>> make_ctr_cipher(View key, View in_iv, View out_iv);
// Both directions have the same key, so client and server are alike.
[[nodiscard]] std::unique_ptr<Cipher> make_gcm_cipher(SecretBytes key);

}  // namespace shufflefs::net::ess
