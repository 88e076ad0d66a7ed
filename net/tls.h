// TLS between nodes: 1.3 only, both sides with a certificate of the same authority, names checked.
//
// A node's certificate carries its node name as a DNS name of the subjectAltName (several names are
// fine, wildcards do not count). There is no session resumption: every connection is a full
// handshake, so that a replaced authority counts at once for new connections.
//
// Threads: a context may be shared; the SSL functions belong to the connection's thread. Failure:
// kConfig with the file and the remedy; kPermission for a name. Cost: making a context blocks on
// the disk. Why OpenSSL's memory buffers and not kernel TLS: docs/security.md.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net {

// PEM files: the chain of this node (its own certificate first), its key, the authority's
// certificates.
struct TlsFiles {
  std::string certificate;
  std::string key;  // with the mode of a secret: for its owner alone
  std::string ca;
};

using TlsContext = boost::asio::ssl::context;

[[nodiscard]] Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files);

// The DNS names of the other side's certificate. REQUIRES: the handshake is done.
[[nodiscard]] std::vector<std::string> peer_names(SSL* ssl);
[[nodiscard]] Status check_peer_name(SSL* ssl, std::string_view node);
// The same on both sides and on no other channel (RFC 5705, 8446 section 7.5).
[[nodiscard]] Result<Bytes> channel_binding(SSL* ssl);

}  // namespace shufflefs::net
