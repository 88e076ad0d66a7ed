// Who may ask the administration server what. A browser on an operator's machine reaches a loopback
// port too, so pages of other sites must neither change anything (cross-site requests) nor read
// anything (DNS rebinding: a name of theirs that points here).
//
//   open paths (health, the page's own files, which hold no data): anybody, GET only
//   a valid bearer token: everything
//   otherwise, where reading needs a token: nothing (401)
//   otherwise: GET, if the Host header is an address or localhost (else 403); and, if no token is
//   configured, changes as well, but not for another site's page (403)
//
// Threads: constant after construction. Failure: the answer says what to do. Cost: a few compares.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "net/http_message.h"

namespace shufflefs::net {

struct HttpAccess {
  std::string token;                // empty: none is configured
  bool reading_needs_token = true;  // the server can be reached from other machines
  std::set<std::string, std::less<>> open_paths;
};

class HttpGuard {
 public:
  explicit HttpGuard(HttpAccess access) : access_(std::move(access)) {}

  // Nothing if the question may be answered.
  [[nodiscard]] std::optional<HttpAnswer> refuse(const HttpQuestion& question) const;

 private:
  [[nodiscard]] bool has_token(const HttpQuestion& question) const;

  const HttpAccess access_;
};

// "127.0.0.1:7340", "[::1]", "localhost": whether a Host header names a machine and not a domain
// that somebody else may own. An empty one is no browser's.
[[nodiscard]] bool is_local_host_header(std::string_view host);

}  // namespace shufflefs::net
