#include "tests/net/ess/auth_client.h"

#include <fmt/format.h>

#include <charconv>

#include "base/endian.h"

namespace shufflefs::net::ess::testing {
namespace {

constexpr std::string_view kCnonce = "a/client+nonce";

std::string between(std::string_view text, std::string_view before, char after) {
  const std::size_t start = text.find(before) + before.size();
  return std::string(text.substr(start, text.find(after, start) - start));
}

}  // namespace

Bytes bytes_of_hex(std::string_view hex) {
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    unsigned value = 0;
    std::from_chars(hex.data() + at, hex.data() + at + 2, value, 16);
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

Bytes frame_of(std::size_t size) {
  Bytes frame(size);
  for (std::size_t i = 8; i < size; ++i) frame[i] = static_cast<std::byte>(i * 31U);
  store_be<uint64_t>(frame.data(), size);
  frame[8] = std::byte{3};
  return frame;
}

Bytes SaslClient::first(std::string_view app) {
  return encode_sasl_message({std::string(app), ""});
}

std::string SaslClient::response(std::string_view method, std::string_view nonce) const {
  const std::string a2 = fmt::format("{}:null/default{}", method,
                                     qop_ == "auth" ? "" : ":00000000000000000000000000000000");
  const std::string all = fmt::format("{}:{}:00000001:{}:{}:{}", lower_hex(hash_.view()), nonce,
                                      kCnonce, qop_, lower_hex(md5({view_of(a2)})->view()));
  return lower_hex(md5({view_of(all)})->view());
}

Bytes SaslClient::second(View challenge, std::string_view app) {
  const std::string nonce = between(text_of(challenge), "nonce=\"", '"');
  const std::string user = base64(view_of("sparkSaslUser"));
  const std::string first = fmt::format("{}:default:{}", user, base64(view_of(secret_)));
  const std::string rest = fmt::format(":{}:{}", nonce, kCnonce);
  hash_ = *md5({md5({view_of(first)})->view(), view_of(rest)});
  rspauth_ = "rspauth=" + response("", nonce);
  std::string token = fmt::format(
      R"(charset=utf-8,username="{}",realm="default",nonce="{}",nc=00000001,cnonce="{}",)"
      R"(digest-uri="null/default",maxbuf=65536,response={},qop={})",
      user, nonce, kCnonce, response("AUTHENTICATE", nonce), qop_);
  if (qop_ == "auth-conf") token += ",cipher=\"3des\"";
  return encode_sasl_message({std::string(app), token});
}

EngineClient::EngineClient(std::string_view secret, std::string_view app) : secret_(secret) {
  EngineRandomness randomness = *fresh_engine_randomness();
  private_key_ = std::move(randomness.private_key);
  message_ = *seal_public_key(*x25519_public(private_key_.view()), app, secret_, randomness.salt,
                              randomness.nonce, {});
}

std::optional<SessionKeys> EngineClient::keys(View reply) const {
  const auto answer = decode_auth_message(reply);
  if (!answer) return std::nullopt;
  Bytes transcript = message();
  const auto server_public = open_public_key(*answer, secret_, transcript);
  if (!server_public) return std::nullopt;
  append(transcript, reply);
  return *derive_session(x25519_shared(private_key_.view(), *server_public)->view(), transcript);
}

std::unique_ptr<Cipher> client_cipher(SessionKind kind, SessionKeys keys) {
  const View in = keys.client_iv.view();
  const View out = keys.server_iv.view();
  switch (kind) {
    case SessionKind::kCtrV1: return *make_ctr_cipher(keys.key_v1.view(), in, out);
    case SessionKind::kCtrV2: return *make_ctr_cipher(keys.key_v2.view(), in, out);
    case SessionKind::kGcmV1: return make_gcm_cipher(std::move(keys.key_v1));
    case SessionKind::kGcmV2: return make_gcm_cipher(std::move(keys.key_v2));
  }
  return nullptr;
}

}  // namespace shufflefs::net::ess::testing
