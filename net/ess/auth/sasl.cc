#include "net/ess/auth/sasl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "net/ess/wire_fields.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::string_view kRealm = "default";
constexpr std::string_view kUri = "null/default";  // Java writes a protocol of null like that
constexpr std::size_t kMaxResponseBytes = 4096;    // Java's limit as well
constexpr std::size_t kNonceBytes = 30;

Error format_error(std::string message) { return make_error(Code::kProtocol, std::move(message)); }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_in_any_case(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, {}, lower, lower);
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  // Skips white space and empty elements; false at the end.
  bool next_element() {
    while (!rest_.empty() && (is_space(rest_.front()) || rest_.front() == ','))
      rest_.remove_prefix(1);
    return !rest_.empty();
  }

  Result<std::string_view> key() {
    std::size_t size = 0;
    while (size < rest_.size() && rest_[size] != '=' && rest_[size] != ',' &&
           !is_space(rest_[size]))
      ++size;
    const std::string_view key = rest_.substr(0, size);
    rest_.remove_prefix(size);
    skip_space();
    if (key.empty()) return format_error("Empty directive key");
    if (rest_.empty() || rest_.front() != '=')
      return format_error(fmt::format("'=' expected after key: {}", key));
    rest_.remove_prefix(1);
    skip_space();
    if (rest_.empty()) return format_error(fmt::format("Valueless directive found: {}", key));
    return key;
  }

  Result<std::string> value(std::string_view key) {
    return rest_.front() == '"' ? quoted_value(key) : plain_value();
  }

 private:
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }

  std::string plain_value() {
    const std::size_t size = std::min(rest_.find_first_of(", \t\r\n"), rest_.size());
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }

  Result<std::string> quoted_value(std::string_view key) {
    std::string value;
    for (std::size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] == '\\' && at + 1 < rest_.size()) {
        value.push_back(rest_[++at]);
      } else if (rest_[at] == '"') {
        rest_.remove_prefix(at + 1);
        if (rest_.empty() || rest_.front() == ',' || is_space(rest_.front())) return value;
        return format_error(
            fmt::format("Expecting comma or linear whitespace after quoted string: \"{}\"", value));
      } else {
        value.push_back(rest_[at]);
      }
    }
    return format_error(
        fmt::format("Unmatched quote found for directive: {} with value: {}", key, value));
  }

  std::string_view rest_;
};

using Field = std::optional<std::string> DigestDirectives::*;

constexpr std::array<std::pair<std::string_view, Field>, 9> kFields = {{
    {"username", &DigestDirectives::username},
    {"realm", &DigestDirectives::realm},
    {"nonce", &DigestDirectives::nonce},
    {"cnonce", &DigestDirectives::cnonce},
    {"qop", &DigestDirectives::qop},
    {"digest-uri", &DigestDirectives::digest_uri},
    {"response", &DigestDirectives::response},
    {"charset", &DigestDirectives::charset},
    {"authzid", &DigestDirectives::authzid},
}};

Error violation(std::string_view what) {
  return make_error(Code::kPermission,
                    fmt::format("DIGEST-MD5: digest response format violation. {}", what));
}

Status check_qop(std::string_view qop) {
  if (qop == "auth") return ok();
  if (qop == "auth-conf") {
    return make_error(Code::kPermission,
                      "DIGEST-MD5: this shuffle service does not encrypt by SASL: set "
                      "spark.network.crypto.enabled=true (AES) instead of "
                      "spark.authenticate.enableSaslEncryption");
  }
  if (qop != "auth-int") return violation(fmt::format("Invalid QOP: {}", qop));
  return make_error(Code::kPermission,
                    fmt::format("DIGEST-MD5: server does not support  qop: {}", qop));
}

// With them verify_digest() may take username, cnonce, digest_uri and response for given.
Status check_directives(const DigestDirectives& given, std::string_view nonce) {
  if (given.charset && *given.charset != "utf-8")
    return violation(fmt::format("Incompatible charset value: {}", *given.charset));
  if (!given.username) return violation("Missing username.");
  if (given.realm.value_or("") != kRealm)
    return violation(fmt::format("Nonexistent realm: {}", given.realm.value_or("")));
  if (!given.nonce) return violation("Missing nonce.");
  if (!equal_constant_time(view_of(*given.nonce), view_of(nonce)))
    return violation("Mismatched nonce.");
  if (!given.cnonce) return violation("Missing cnonce.");
  TRY(check_qop(given.qop.value_or("auth")));
  if (!equal_in_any_case(given.digest_uri.value_or(""), kUri)) {
    return violation(
        fmt::format("Mismatched URI: {}; expecting: {}", given.digest_uri.value_or("null"), kUri));
  }
  if (!given.response) return violation(" Missing response.");
  return ok();
}

// H(A1) of md5-sess: H({user:realm:password} ":" nonce ":" cnonce [":" authzid]).
Result<SecretBytes> session_hash(const DigestDirectives& given, std::string_view nonce,
                                 std::string_view secret) {
  std::string password = base64(view_of(secret));
  auto user = md5(
      {view_of(*given.username), view_of(":"), view_of(kRealm), view_of(":"), view_of(password)});
  wipe(std::as_writable_bytes(std::span(password)));
  if (!user) return std::move(user).error();
  const std::string authzid = given.authzid ? ":" + *given.authzid : "";
  return md5({user->view(), view_of(":"), view_of(nonce), view_of(":"), view_of(*given.cnonce),
              view_of(authzid)});
}

// The response-value of RFC 2831, 2.1.2.1; `method` is empty for the server's own.
Result<std::string> response_value(const SecretBytes& hash, std::string_view method,
                                   const DigestDirectives& given, std::string_view nonce) {
  TRY_ASSIGN(const SecretBytes a2,
             md5({view_of(method), view_of(":"), view_of(*given.digest_uri)}));
  std::string hex_hash = lower_hex(hash.view());
  const std::string rest =
      fmt::format(":{}:00000001:{}:auth:{}", nonce, *given.cnonce, lower_hex(a2.view()));
  auto value = md5({view_of(hex_hash), view_of(rest)});
  wipe(std::as_writable_bytes(std::span(hex_hash)));
  if (!value) return std::move(value).error();
  return lower_hex(value->view());
}

}  // namespace

std::optional<SaslMessage> decode_sasl_message(View body) {
  WireReader reader("SaslMessage", body);
  if (reader.number<int8_t>("tag") != static_cast<int8_t>(kSaslTag)) return std::nullopt;
  SaslMessage message{std::string(reader.text("appId", kMaxAuthAppBytes)), {}};
  (void)reader.number<int32_t>("length");
  message.token = as_text(reader.rest());
  if (reader.failed()) return std::nullopt;
  return message;
}

Bytes encode_sasl_message(const SaslMessage& message) {
  return WireWriter()
      .number(static_cast<int8_t>(kSaslTag))
      .text(message.app)
      .text(message.token)
      .take();
}

Result<DigestDirectives> parse_directives(std::string_view text) {
  DigestDirectives directives;
  Scanner scanner(text);
  while (scanner.next_element()) {
    TRY_ASSIGN(const std::string_view key, scanner.key());
    TRY_ASSIGN(std::string value, scanner.value(key));
    // Others (nc, maxbuf, cipher) decide nothing here.
    const auto* known = std::ranges::find_if(
        kFields, [&](const auto& field) { return equal_in_any_case(field.first, key); });
    if (known == kFields.end()) continue;
    std::optional<std::string>& field = directives.*(known->second);
    if (field) {
      return format_error(
          fmt::format("DIGEST-MD5: peer sent more than one {} directive: {}", key, value));
    }
    field = std::move(value);
  }
  return directives;
}

Result<std::string> fresh_digest_nonce() {
  std::array<std::byte, kNonceBytes> bytes = {};
  TRY(random_fill(bytes));
  return base64(bytes);
}

std::string digest_challenge(std::string_view nonce) {
  return fmt::format(R"(realm="{}",nonce="{}",qop="auth-conf,auth",charset=utf-8,)"
                     R"(cipher="3des,rc4,des,rc4-56,rc4-40",algorithm=md5-sess)",
                     kRealm, nonce);
}

Result<std::string> verify_digest(std::string_view token, std::string_view nonce,
                                  std::string_view secret) {
  if (token.size() > kMaxResponseBytes) {
    return make_error(
        Code::kProtocol,
        fmt::format("DIGEST-MD5: Invalid digest response length. Got:  {} Expected < {}",
                    token.size(), kMaxResponseBytes));
  }
  TRY_ASSIGN(const DigestDirectives given, parse_directives(token));
  TRY(check_directives(given, nonce));
  TRY_ASSIGN(const SecretBytes hash, session_hash(given, nonce, secret));
  TRY_ASSIGN(const std::string expected, response_value(hash, "AUTHENTICATE", given, nonce));
  if (!equal_constant_time(view_of(*given.response), view_of(expected)))
    return violation("Mismatched response.");
  if (given.authzid && *given.authzid != *given.username) {
    return make_error(Code::kPermission,
                      fmt::format("DIGEST-MD5: {} is not authorized to act as {}", *given.username,
                                  *given.authzid));
  }
  TRY_ASSIGN(const std::string own, response_value(hash, "", given, nonce));
  return "rspauth=" + own;
}

}  // namespace shufflefs::net::ess
