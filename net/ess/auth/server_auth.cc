#include "net/ess/auth/server_auth.h"

#include <fmt/format.h>

#include <utility>

#include "net/ess/auth/sasl.h"

namespace shufflefs::net::ess {
namespace {

// Java's service goes on answering a client that fails again and again; nobody needs that.
constexpr int kMaxRefusals = 8;

AuthResponse refuse(std::string text, bool close) {
  AuthResponse response;
  response.refusal = std::move(text);
  response.close = close;
  return response;
}

AuthResponse refuse_sasl(std::string_view what) {
  return refuse(
      fmt::format("java.lang.RuntimeException: javax.security.sasl.SaslException: {}", what),
      false);
}

Bytes bytes_of(std::string_view text) {
  Bytes bytes;
  append(bytes, view_of(text));
  return bytes;
}

}  // namespace

std::string not_authorized(std::string_view client_app, std::string_view wanted_app) {
  return fmt::format(
      "java.lang.SecurityException: Client for {} not authorized for application {}.", client_app,
      wanted_app);
}

Result<std::shared_ptr<const AuthSecret>> read_secret_file(const std::filesystem::path& file) {
  TRY_ASSIGN(SecretText text, read_secret_text(file, {.what = "the secret file",
                                                      .if_empty = "put the secret into it"}));
  return std::make_shared<const AuthSecret>(std::move(text));
}

AuthResponse ServerAuth::receive(std::span<const std::byte> body) {
  if (done_) return refuse("java.lang.IllegalStateException: already authenticated", true);
  AuthResponse response = respond(body);
  if (response.refusal && ++refusals_ >= kMaxRefusals) response.close = true;
  return response;
}

AuthResponse ServerAuth::respond(View body) {
  if (policy_.engine && !is_sasl_) {
    if (const auto message = decode_auth_message(body)) return engine(*message);
  }
  if (!policy_.sasl)
    return refuse("java.lang.IllegalArgumentException: Unknown challenge message.", true);
  is_sasl_ = true;
  return sasl(body);
}

AuthResponse ServerAuth::engine(const AuthMessage& message) {
  auto randomness = fresh_engine_randomness();
  auto response = randomness ? respond_to_engine(message, secret_->text(), *randomness)
                             : Result<EngineResponse>(std::move(randomness).error());
  // Why it failed is nobody's business who does not know the secret.
  if (!response) return refuse("java.lang.IllegalArgumentException: Authentication failed.", true);
  app_ = message.app;
  cipher_ = make_session_cipher(std::move(response->keys));
  return complete(std::move(response->reply));
}

AuthResponse ServerAuth::sasl(View body) {
  const auto message = decode_sasl_message(body);
  if (!message) {
    return refuse(
        "java.lang.IllegalStateException: Expected SaslMessage, received something else (maybe "
        "your client does not have SASL enabled?)",
        false);
  }
  if (sasl_is_over_) return refuse_sasl("DIGEST-MD5: Server at illegal state");
  if (digest_nonce_) {
    sasl_is_over_ = true;
    const auto rspauth = verify_digest(message->token, *digest_nonce_, secret_->text());
    return rspauth ? complete(bytes_of(*rspauth)) : refuse_sasl(rspauth.error().message);
  }
  auto nonce = fresh_digest_nonce();
  if (!nonce) return refuse_sasl(nonce.error().message);
  app_ = message->app;
  digest_nonce_ = *std::move(nonce);
  AuthResponse response;
  response.reply = bytes_of(digest_challenge(*digest_nonce_));
  return response;
}

AuthResponse ServerAuth::complete(Bytes reply) {
  done_ = true;
  AuthResponse response;
  response.reply = std::move(reply);
  response.done = true;
  return response;
}

}  // namespace shufflefs::net::ess
