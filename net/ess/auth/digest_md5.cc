#include "net/ess/auth/digest_md5.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "net/ess/auth/digest_cipher.h"
#include "net/ess/auth/digest_directives.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::string_view kRealm = "default";
constexpr std::string_view kUri = "null/default";  // Java writes a protocol of null like that
constexpr std::size_t kMaxResponseBytes = 4096;    // Java's limit as well
constexpr std::size_t kNonceBytes = 30;

Error violation(std::string_view what) {
  return make_error(Code::kPermission,
                    fmt::format("DIGEST-MD5: digest response format violation. {}", what));
}

bool same_uri(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, [](unsigned char a, unsigned char b) {
    return std::tolower(a) == std::tolower(b);
  });
}

// What the checks below leave; everything else of the response has done its work.
struct Claims {
  DigestDirectives directives;
  std::string qop;
};

Result<Claims> check_claims(std::string_view token, std::string_view nonce,
                            const DigestOptions& options) {
  if (token.size() > kMaxResponseBytes) {
    return make_error(
        Code::kProtocol,
        fmt::format("DIGEST-MD5: Invalid digest response length. Got:  {} Expected < {}",
                    token.size(), kMaxResponseBytes));
  }
  TRY_ASSIGN(DigestDirectives given, parse_directives(token));
  if (given.charset && *given.charset != "utf-8")
    return violation(fmt::format("Incompatible charset value: {}", *given.charset));
  if (!given.username) return violation("Missing username.");
  if (given.realm.value_or("") != kRealm)
    return violation(fmt::format("Nonexistent realm: {}", given.realm.value_or("")));
  if (!given.nonce) return violation("Missing nonce.");
  if (!equal_constant_time(view_of(*given.nonce), view_of(nonce)))
    return violation("Mismatched nonce.");
  if (!given.cnonce) return violation("Missing cnonce.");
  std::string qop = given.qop.value_or("auth");
  if (qop != "auth" && qop != "auth-conf" && qop != "auth-int")
    return violation(fmt::format("Invalid QOP: {}", qop));
  if (qop == "auth-int" || (qop == "auth" && options.require_encryption)) {
    return make_error(Code::kPermission,
                      fmt::format("DIGEST-MD5: server does not support  qop: {}", qop));
  }
  if (qop == "auth-conf" && !given.cipher) return violation("No cipher specified.");
  if (!same_uri(given.digest_uri.value_or(""), kUri)) {
    return violation(
        fmt::format("Mismatched URI: {}; expecting: {}", given.digest_uri.value_or("null"), kUri));
  }
  if (!given.response) return violation(" Missing response.");
  return Claims{std::move(given), std::move(qop)};
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
                                   const Claims& claims, std::string_view nonce) {
  const std::string_view marker = claims.qop == "auth" ? "" : ":00000000000000000000000000000000";
  TRY_ASSIGN(const SecretBytes a2, md5({view_of(method), view_of(":"),
                                        view_of(*claims.directives.digest_uri), view_of(marker)}));
  std::string hex_hash = lower_hex(hash.view());
  const std::string rest = fmt::format(":{}:00000001:{}:{}:{}", nonce, *claims.directives.cnonce,
                                       claims.qop, lower_hex(a2.view()));
  auto value = md5({view_of(hex_hash), view_of(rest)});
  wipe(std::as_writable_bytes(std::span(hex_hash)));
  if (!value) return std::move(value).error();
  return lower_hex(value->view());
}

}  // namespace

DigestMd5Server::DigestMd5Server(std::string nonce, DigestOptions options)
    : nonce_(std::move(nonce)), options_(options) {}

Result<std::string> DigestMd5Server::fresh_nonce() {
  std::array<std::byte, kNonceBytes> bytes = {};
  TRY(random_fill(bytes));
  return base64(bytes);
}

std::string DigestMd5Server::challenge() const {
  return fmt::format(
      R"(realm="{}",nonce="{}",qop="{}",charset=utf-8,cipher="{}",algorithm=md5-sess)", kRealm,
      nonce_, options_.require_encryption ? "auth-conf" : "auth-conf,auth",
      offered_digest_ciphers());
}

Result<DigestAccepted> DigestMd5Server::verify(std::string_view token,
                                               std::string_view secret) const {
  TRY_ASSIGN(const Claims claims, check_claims(token, nonce_, options_));
  TRY_ASSIGN(const SecretBytes hash, session_hash(claims.directives, nonce_, secret));
  TRY_ASSIGN(const std::string expected, response_value(hash, "AUTHENTICATE", claims, nonce_));
  if (!equal_constant_time(view_of(*claims.directives.response), view_of(expected)))
    return violation("Mismatched response.");
  if (claims.directives.authzid && *claims.directives.authzid != *claims.directives.username) {
    return make_error(Code::kPermission,
                      fmt::format("DIGEST-MD5: {} is not authorized to act as {}",
                                  *claims.directives.username, *claims.directives.authzid));
  }
  DigestAccepted accepted;
  TRY_ASSIGN(const std::string own, response_value(hash, "", claims, nonce_));
  accepted.rspauth = "rspauth=" + own;
  if (claims.qop == "auth-conf") {
    TRY_ASSIGN(accepted.cipher,
               make_digest_cipher(*claims.directives.cipher, hash, options_.piece_bytes));
  }
  return accepted;
}

}  // namespace shufflefs::net::ess
