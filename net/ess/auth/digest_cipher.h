// DIGEST-MD5's privacy layer (qop auth-conf) in Spark's framing: an int64 length that counts
// itself, then {message, padding, HMAC-MD5[0..9]} encrypted, then two bytes 00 01 and a sequence
// number. The block ciphers chain from one piece to the next.
//
// Threads, failure: as Cipher. Cost: 3des, which Java's clients choose, makes about 25 MB/s on one
// core; who wants more sets spark.network.crypto.enabled. rc4 and des are in OpenSSL's legacy
// provider, which is loaded for this file only; where it is not installed (Debian 13 has it in
// openssl-provider-legacy) they are not offered.
// Source: RFC 2831, 2.4; JDK DigestMD5Base (DES keys and padding); Spark's SaslEncryption.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/crypto.h"
#include "net/ess/auth/cipher.h"

namespace shufflefs::net::ess {

// For the challenge: those of "3des,rc4,des,rc4-56,rc4-40" that OpenSSL has here.
[[nodiscard]] const std::string& offered_digest_ciphers();

// `hash` is H(A1). The server's end. kPermission for a cipher that was not offered.
[[nodiscard]] Result<std::unique_ptr<Cipher>> make_digest_cipher(std::string_view name,
                                                                 const SecretBytes& hash,
                                                                 std::size_t piece_bytes);

// The client's end, for tests.
[[nodiscard]] Result<std::unique_ptr<Cipher>> make_digest_client_cipher(std::string_view name,
                                                                        const SecretBytes& hash,
                                                                        std::size_t piece_bytes);

}  // namespace shufflefs::net::ess
