#include "net/ess/auth/auth_engine.h"

#include <utility>

#include "net/ess/auth/sasl.h"
#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kKeyBytes = 16;
// A salt of another length than Spark's would do no harm; the limit keeps HKDF's input small.
constexpr std::size_t kMaxSaltBytes = 64;
constexpr std::size_t kSealedKeyBytes = kGcmNonceBytes + kX25519Bytes + kGcmTagBytes;

Bytes associated_data(std::string_view app, View salt, View transcript) {
  Bytes data;
  append(data, view_of(app));
  append(data, salt);
  append(data, transcript);
  return data;
}

}  // namespace

std::optional<AuthMessage> decode_auth_message(View body) {
  WireReader reader("AuthMessage", body);
  if (reader.number<int8_t>("tag") != static_cast<int8_t>(kAuthTag)) return std::nullopt;
  AuthMessage message{std::string(reader.text("appId", kMaxAuthAppBytes)), {}, {}};
  append(message.salt, view_of(reader.text("salt", body.size())));
  append(message.ciphertext, view_of(reader.text("ciphertext", body.size())));
  if (reader.failed()) return std::nullopt;
  return message;
}

Bytes encode_auth_message(const AuthMessage& message) {
  return WireWriter()
      .number(static_cast<int8_t>(kAuthTag))
      .text(message.app)
      .text(as_text(message.salt))
      .text(as_text(message.ciphertext))
      .take();
}

Result<EngineRandomness> fresh_engine_randomness() {
  EngineRandomness randomness;
  TRY_ASSIGN(randomness.private_key, x25519_generate());
  randomness.salt.resize(kAuthSaltBytes);
  TRY(random_fill(randomness.salt));
  randomness.nonce.resize(kGcmNonceBytes);
  TRY(random_fill(randomness.nonce));
  return randomness;
}

Result<AuthMessage> seal_public_key(View public_key, std::string_view app, std::string_view secret,
                                    View salt, View nonce, View transcript) {
  const Bytes aad = associated_data(app, salt, transcript);
  TRY_ASSIGN(const SecretBytes key, hkdf_sha256(view_of(secret), salt, aad, kKeyBytes));
  AuthMessage message{std::string(app), Bytes(salt.begin(), salt.end()),
                      Bytes(nonce.begin(), nonce.end())};
  TRY(gcm_seal(key.view(), nonce, aad, public_key, message.ciphertext));
  return message;
}

Result<Bytes> open_public_key(const AuthMessage& message, std::string_view secret,
                              View transcript) {
  if (message.salt.size() > kMaxSaltBytes || message.ciphertext.size() != kSealedKeyBytes)
    return make_error(Code::kPermission, "an AuthMessage with impossible lengths");
  const Bytes aad = associated_data(message.app, message.salt, transcript);
  TRY_ASSIGN(const SecretBytes key, hkdf_sha256(view_of(secret), message.salt, aad, kKeyBytes));
  const View sealed(message.ciphertext);
  Bytes public_key;
  TRY(gcm_open(key.view(), sealed.first(kGcmNonceBytes), aad, sealed.subspan(kGcmNonceBytes),
               public_key));
  return public_key;
}

Result<SessionKeys> derive_session(View shared, View transcript) {
  SessionKeys keys;
  keys.key_v1 = SecretBytes(shared);
  TRY_ASSIGN(keys.key_v2, hkdf_sha256(shared, transcript, view_of("derivedKey"), kKeyBytes));
  TRY_ASSIGN(keys.client_iv, hkdf_sha256(shared, transcript, view_of("inputIv"), kKeyBytes));
  TRY_ASSIGN(keys.server_iv, hkdf_sha256(shared, transcript, view_of("outputIv"), kKeyBytes));
  return keys;
}

Result<EngineResponse> respond_to_engine(const AuthMessage& client, std::string_view secret,
                                         const EngineRandomness& randomness) {
  TRY_ASSIGN(const Bytes client_public, open_public_key(client, secret, {}));
  TRY_ASSIGN(const Bytes own_public, x25519_public(randomness.private_key.view()));
  Bytes transcript = encode_auth_message(client);
  TRY_ASSIGN(const AuthMessage message,
             seal_public_key(own_public, client.app, secret, randomness.salt, randomness.nonce,
                             transcript));
  EngineResponse response;
  response.reply = encode_auth_message(message);
  append(transcript, response.reply);
  TRY_ASSIGN(const SecretBytes shared, x25519_shared(randomness.private_key.view(), client_public));
  TRY_ASSIGN(response.keys, derive_session(shared.view(), transcript));
  return response;
}

}  // namespace shufflefs::net::ess
