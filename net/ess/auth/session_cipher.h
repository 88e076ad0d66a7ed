// The cipher of a connection that AuthEngine authenticated: AES/CTR over the whole byte stream, or
// AES/GCM in messages, whatever the application is configured for (spark.network.crypto.cipher,
// spark.network.crypto.authEngineVersion). It is told from the first nine bytes: only under the
// right key and cipher are they the beginning of a frame, whose length has at least 33 leading zero
// bits. A wrong guess (once in 2^32 connections) is noticed as a broken frame.
//
// Threads, failure, cost: as Cipher. Source: spark-facts 1.9; Spark's CtrTransportCipher.
#pragma once

#include <memory>

#include "net/ess/auth/auth_engine.h"
#include "net/ess/auth/cipher.h"

namespace shufflefs::net::ess {

// The server's end.
[[nodiscard]] std::unique_ptr<Cipher> make_session_cipher(SessionKeys keys);

// One AES/CTR stream for each direction. For the detection, and for tests as the client's end.
[[nodiscard]] Result<std::unique_ptr<Cipher>> make_ctr_cipher(View key, View in_iv, View out_iv);

}  // namespace shufflefs::net::ess
