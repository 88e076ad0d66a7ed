// AES/GCM as Spark has it: each message is an int64 length (counting itself, and authenticated),
// then Tink's AesGcmHkdfStreaming: a header {its size, salt, 7 bytes of nonce} and segments of
// 32 KiB, each with a tag; the key is derived anew for each message.
//
// Spark 3.5.7's own receiver takes one such message per connection and drops what follows (its
// DecryptionHandler never starts over), so that AES/GCM works with later versions only.
//
// Threads, failure: as Cipher. Cost: at most one segment is kept. Source: Spark's
// GcmTransportCipher; Tink's description of AES-GCM-HKDF streaming.
#pragma once

#include <memory>

#include "net/crypto.h"
#include "net/ess/auth/cipher.h"

namespace shufflefs::net::ess {

// Of a message's streaming header, for a key of 16 or 32 bytes; also the header's first byte.
[[nodiscard]] constexpr std::size_t gcm_header_bytes(std::size_t key_bytes) {
  return 1 + key_bytes + 7;
}

// Both directions have the same key, so client and server are alike.
[[nodiscard]] std::unique_ptr<Cipher> make_gcm_cipher(SecretBytes key);

}  // namespace shufflefs::net::ess
