#include "net/ess/auth/server_auth.h"

#include <fmt/format.h>

#include <utility>

#include "net/ess/auth/auth_engine.h"
#include "net/ess/auth/auth_message.h"
#include "net/ess/auth/digest_md5.h"
#include "net/ess/auth/session_cipher.h"

namespace shufflefs::net::ess {
namespace {

// Java's service goes on answering a client that fails again and again; nobody needs that.
constexpr int kMaxRefusals = 8;

AuthAnswer refuse(std::string text, bool close) {
  AuthAnswer answer;
  answer.refusal = std::move(text);
  answer.close = close;
  return answer;
}

AuthAnswer refuse_sasl(std::string_view what) {
  return refuse(
      fmt::format("java.lang.RuntimeException: javax.security.sasl.SaslException: {}", what),
      false);
}

}  // namespace

std::string not_authorized(std::string_view client_app, std::string_view wanted_app) {
  return fmt::format(
      "java.lang.SecurityException: Client for {} not authorized for application {}.", client_app,
      wanted_app);
}

struct ServerAuth::State {
  std::shared_ptr<const AuthSecret> secret;
  AuthPolicy policy;
  std::string app;
  bool done = false;
  int refusals = 0;
  // SASL: chosen for good by the first message that is not an AuthMessage, as in Java.
  bool sasl_chosen = false;
  bool sasl_over = false;
  std::optional<DigestMd5Server> digest;
  std::unique_ptr<Cipher> cipher;

  AuthAnswer receive_engine(const AuthMessage& message) {
    auto randomness = fresh_engine_randomness();
    auto answered = randomness ? answer_engine(message, secret->text(), *randomness)
                               : Result<EngineAnswer>(std::move(randomness).error());
    // Why it failed is nobody's business who does not know the secret.
    if (!answered)
      return refuse("java.lang.IllegalArgumentException: Authentication failed.", true);
    app = message.app;
    cipher = make_session_cipher(std::move(answered->keys));
    return complete(std::move(answered->reply));
  }

  AuthAnswer receive_sasl(std::span<const std::byte> body) {
    const auto message = decode_sasl_message(body);
    if (!message) {
      return refuse(
          "java.lang.IllegalStateException: Expected SaslMessage, received something else (maybe "
          "your client does not have SASL enabled?)",
          false);
    }
    if (sasl_over) return refuse_sasl("DIGEST-MD5: Server at illegal state");
    return digest ? finish_sasl(*message) : start_sasl(*message);
  }

  AuthAnswer start_sasl(const SaslMessage& message) {
    auto nonce = DigestMd5Server::fresh_nonce();
    if (!nonce) return refuse_sasl(nonce.error().message);
    app = message.app;
    digest.emplace(*std::move(nonce),
                   DigestOptions{policy.require_encryption, policy.sasl_piece_bytes});
    AuthAnswer answer;
    append(answer.reply, view_of(digest->challenge()));
    return answer;
  }

  AuthAnswer finish_sasl(const SaslMessage& message) {
    sasl_over = true;
    auto accepted = digest->verify(message.token, secret->text());
    if (!accepted) return refuse_sasl(accepted.error().message);
    cipher = std::move(accepted->cipher);
    Bytes reply;
    append(reply, view_of(accepted->rspauth));
    return complete(std::move(reply));
  }

  AuthAnswer complete(Bytes reply) {
    done = true;
    AuthAnswer answer;
    answer.reply = std::move(reply);
    answer.done = true;
    return answer;
  }

  AuthAnswer receive(std::span<const std::byte> body) {
    if (policy.engine && !sasl_chosen) {
      if (const auto message = decode_auth_message(body)) return receive_engine(*message);
    }
    if (!policy.sasl)
      return refuse("java.lang.IllegalArgumentException: Unknown challenge message.", true);
    sasl_chosen = true;
    return receive_sasl(body);
  }
};

ServerAuth::ServerAuth(std::shared_ptr<const AuthSecret> secret, AuthPolicy policy)
    : state_(std::make_unique<State>()) {
  state_->secret = std::move(secret);
  state_->policy = policy;
}
ServerAuth::~ServerAuth() = default;
ServerAuth::ServerAuth(ServerAuth&&) noexcept = default;
ServerAuth& ServerAuth::operator=(ServerAuth&&) noexcept = default;

AuthAnswer ServerAuth::receive(std::span<const std::byte> body) {
  if (state_->done) return refuse("java.lang.IllegalStateException: already authenticated", true);
  AuthAnswer answer = state_->receive(body);
  if (answer.refusal && ++state_->refusals >= kMaxRefusals) answer.close = true;
  return answer;
}

bool ServerAuth::done() const { return state_->done; }
const std::string& ServerAuth::app_id() const { return state_->app; }
std::unique_ptr<Cipher> ServerAuth::take_cipher() { return std::move(state_->cipher); }

}  // namespace shufflefs::net::ess
