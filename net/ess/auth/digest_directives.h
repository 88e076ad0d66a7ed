// The text of a DIGEST-MD5 response: comma-separated directives, values quoted or not (RFC 2831,
// section 7.1).
//
// Pure function over bytes, any thread. Failure: kProtocol with the words that Java's server would
// use. Cost: copies of the values of known directives; the text is bounded by the caller.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shufflefs::net::ess {

struct DigestDirectives {
  std::optional<std::string> username;
  std::optional<std::string> realm;
  std::optional<std::string> nonce;
  std::optional<std::string> cnonce;
  std::optional<std::string> qop;
  std::optional<std::string> digest_uri;
  std::optional<std::string> response;
  std::optional<std::string> charset;
  std::optional<std::string> cipher;
  std::optional<std::string> authzid;
};

[[nodiscard]] Result<DigestDirectives> parse_directives(std::string_view text);

}  // namespace shufflefs::net::ess
