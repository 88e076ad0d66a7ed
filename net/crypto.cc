#include "net/crypto.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

namespace shufflefs::net {
namespace {

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Digest = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using Kdf = std::unique_ptr<EVP_KDF, FreeWith<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, FreeWith<EVP_KDF_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;

const EVP_CIPHER* gcm_of(View key) {
  return key.size() == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
}

int int_of(std::size_t size) { return static_cast<int>(size); }

// OSSL_PARAM is not const-correct; the KDF only reads.
OSSL_PARAM octets(const char* name, View bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::byte*>(bytes.data()),
                                           bytes.size());
}

}  // namespace

void wipe(std::span<std::byte> bytes) {
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
}

Error openssl_error(std::string_view what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return make_error(Code::kInternal, fmt::format("OpenSSL: {} failed: {}", what,
                                                 reason == nullptr ? "no reason given" : reason));
}

Status random_fill(std::span<std::byte> bytes) {
  if (RAND_bytes(raw(bytes.data()), int_of(bytes.size())) == 1) return ok();
  return openssl_error("RAND_bytes");
}

bool equal_constant_time(View left, View right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

std::string base64(View bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends with a zero byte
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), raw(bytes.data()),
                  int_of(bytes.size()));
  text.pop_back();
  return text;
}

std::string lower_hex(View bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text.push_back(kDigits[std::to_integer<unsigned>(byte) >> 4U]);
    text.push_back(kDigits[std::to_integer<unsigned>(byte) & 15U]);
  }
  return text;
}

Result<SecretBytes> md5(std::initializer_list<View> parts) {
  const Digest context(EVP_MD_CTX_new());
  if (!context || EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) != 1)
    return openssl_error("MD5");
  for (const View part : parts) {
    if (EVP_DigestUpdate(context.get(), part.data(), part.size()) != 1) return openssl_error("MD5");
  }
  SecretBytes digest(kMd5Bytes);
  if (EVP_DigestFinal_ex(context.get(), raw(digest.writable().data()), nullptr) != 1)
    return openssl_error("MD5");
  return digest;
}

Result<Bytes> hmac_sha256(View key, View message) {
  Bytes code(kHmacBytes);
  unsigned size = 0;
  if (HMAC(EVP_sha256(), key.data(), int_of(key.size()), raw(message.data()), message.size(),
           raw(code.data()), &size) == nullptr)
    return openssl_error("HMAC-SHA256");
  return code;
}

Result<SecretBytes> hkdf_sha256(View key, View salt, View info, std::size_t size) {
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const KdfContext context(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
  if (!context) return openssl_error("HKDF");
  std::string digest = "SHA256";
  const std::array parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      octets(OSSL_KDF_PARAM_KEY, key), octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  SecretBytes derived(size);
  if (EVP_KDF_derive(context.get(), raw(derived.writable().data()), size, parameters.data()) != 1)
    return openssl_error("HKDF");
  return derived;
}

Status gcm_seal(View key, View nonce, View aad, View plain, Bytes& out) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  const std::size_t start = out.size();
  out.resize(start + plain.size() + kGcmTagBytes);
  unsigned char* to = raw(&out[start]);
  int written = 0;
  if (context &&
      EVP_EncryptInit_ex(context.get(), gcm_of(key), nullptr, raw(key.data()), raw(nonce.data())) ==
          1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &written, raw(aad.data()), int_of(aad.size())) ==
          1 &&
      EVP_EncryptUpdate(context.get(), to, &written, raw(plain.data()), int_of(plain.size())) ==
          1 &&
      EVP_EncryptFinal_ex(context.get(), to + plain.size(), &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, int_of(kGcmTagBytes),
                          to + plain.size()) == 1) {
    return ok();
  }
  out.resize(start);
  return openssl_error("AES-GCM");
}

Status gcm_open(View key, View nonce, View aad, View sealed, Bytes& out) {
  if (sealed.size() < kGcmTagBytes)
    return make_error(Code::kPermission, "an AES-GCM ciphertext is shorter than its tag");
  const View cipher_text = sealed.first(sealed.size() - kGcmTagBytes);
  Bytes tag(sealed.end() - kGcmTagBytes, sealed.end());
  const CipherContext context(EVP_CIPHER_CTX_new());
  const std::size_t start = out.size();
  out.resize(start + cipher_text.size() + 1);  // one more, so that there is an address to write to
  unsigned char* to = raw(&out[start]);
  int written = 0;
  const bool decrypted = context &&
                         EVP_DecryptInit_ex(context.get(), gcm_of(key), nullptr, raw(key.data()),
                                            raw(nonce.data())) == 1 &&
                         EVP_DecryptUpdate(context.get(), nullptr, &written, raw(aad.data()),
                                           int_of(aad.size())) == 1 &&
                         EVP_DecryptUpdate(context.get(), to, &written, raw(cipher_text.data()),
                                           int_of(cipher_text.size())) == 1 &&
                         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG,
                                             int_of(kGcmTagBytes), tag.data()) == 1;
  if (!decrypted) {
    out.resize(start);
    return openssl_error("AES-GCM");
  }
  if (EVP_DecryptFinal_ex(context.get(), to + cipher_text.size(), &written) != 1) {
    ERR_clear_error();
    wipe(std::span(out).subspan(start));  // unauthenticated: nobody may use it
    out.resize(start);
    return make_error(Code::kPermission, "the tag of an AES-GCM ciphertext is wrong");
  }
  out.resize(start + cipher_text.size());
  return ok();
}

Result<SecretBytes> x25519_generate() {
  SecretBytes key(kX25519Bytes);
  TRY(random_fill(key.writable()));
  return key;
}

Result<Bytes> x25519_public(View private_key) {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, raw(private_key.data()),
                                             private_key.size()));
  Bytes public_key(kX25519Bytes);
  std::size_t size = public_key.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), raw(public_key.data()), &size) != 1)
    return openssl_error("X25519");
  return public_key;
}

Result<SecretBytes> x25519_shared(View private_key, View peer_public_key) {
  const Key mine(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, raw(private_key.data()),
                                              private_key.size()));
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, raw(peer_public_key.data()),
                                             peer_public_key.size()));
  const KeyContext context(mine ? EVP_PKEY_CTX_new(mine.get(), nullptr) : nullptr);
  if (!peer || !context || EVP_PKEY_derive_init(context.get()) != 1) return openssl_error("X25519");
  SecretBytes shared(kX25519Bytes);
  std::size_t size = shared.size();
  if (EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), raw(shared.writable().data()), &size) != 1) {
    ERR_clear_error();
    return make_error(Code::kPermission, "the peer's X25519 public key is of low order");
  }
  return shared;
}

}  // namespace shufflefs::net
