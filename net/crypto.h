// OpenSSL's primitives as the handshakes need them: values in, values out, nothing kept.
//
// Threads: any. Ownership: SecretBytes wipes what it held. Failure: kInternal where OpenSSL refuses
// what must work (out of memory, a provider that is missing); kPermission where a tag or a peer's
// key is wrong. Cost: in the order of a microsecond, X25519 fifty. Source: RFC 2104 (HMAC), 5869
// (HKDF), 7748 (X25519), SP 800-38D (GCM); the implementations are OpenSSL's.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net {

using View = std::span<const std::byte>;

inline View view_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
inline unsigned char* raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
inline void append(Bytes& to, View bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// Overwrites in a way that the compiler keeps.
void wipe(std::span<std::byte> bytes);

// Keys and what leads to them. Fixed size, moved, wiped at the end.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  explicit SecretBytes(View bytes) : bytes_(bytes.begin(), bytes.end()) {}
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    wipe(bytes_);
    bytes_ = std::exchange(other.bytes_, {});
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { wipe(bytes_); }

  [[nodiscard]] std::span<std::byte> writable() { return bytes_; }
  [[nodiscard]] View view() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  std::vector<std::byte> bytes_;
};

struct FreeCipherContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipherContext>;

inline constexpr std::size_t kMd5Bytes = 16;
inline constexpr std::size_t kX25519Bytes = 32;
inline constexpr std::size_t kGcmNonceBytes = 12;
inline constexpr std::size_t kGcmTagBytes = 16;

[[nodiscard]] Error openssl_error(std::string_view what);

// Fills with unpredictable bytes.
[[nodiscard]] Status random_fill(std::span<std::byte> bytes);

// In a time that depends on the sizes only.
[[nodiscard]] bool equal_constant_time(View left, View right);

[[nodiscard]] std::string base64(View bytes);
[[nodiscard]] std::string lower_hex(View bytes);

[[nodiscard]] Result<SecretBytes> md5(std::initializer_list<View> parts);

inline constexpr std::size_t kHmacBytes = 32;
[[nodiscard]] Result<Bytes> hmac_sha256(View key, View message);

// REQUIRES: info.size() <= 1024, which every supported OpenSSL takes.
[[nodiscard]] Result<SecretBytes> hkdf_sha256(View key, View salt, View info, std::size_t size);

// Key of 16 or 32 bytes. gcm_seal appends ciphertext and tag to `out`; gcm_open takes both and
// appends the plaintext, or nothing and kPermission if the tag is wrong.
[[nodiscard]] Status gcm_seal(View key, View nonce, View aad, View plain, Bytes& out);
[[nodiscard]] Status gcm_open(View key, View nonce, View aad, View sealed, Bytes& out);

[[nodiscard]] Result<SecretBytes> x25519_generate();
[[nodiscard]] Result<Bytes> x25519_public(View private_key);
// kPermission for a public key that leads to the all-zero secret.
[[nodiscard]] Result<SecretBytes> x25519_shared(View private_key, View peer_public_key);

}  // namespace shufflefs::net
