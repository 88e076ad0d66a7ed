// What this node shows to other nodes and asks of them: the shared secret, and certificates for
// TLS. Read from files, and again when the files change, so that both are replaced without a
// restart; what a connection has begun with it keeps.
//
// Threads: secrets() and tls() from any thread; start() and stop() on the reactor; load() blocks on
// the disk. Ownership: the runtime outlives it; stop() has returned before it is destroyed.
// Failure: load() gives kConfig with the file and the remedy; a later reading that fails is logged
// (peer.auth_not_reloaded) and changes nothing. Cost: a stat of each file every ten seconds.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/gate.h"
#include "base/mutex.h"
#include "net/peer_secrets.h"
#include "net/tls.h"

namespace shufflefs::net {

// Empty where it is not configured; the three of TLS together or not at all.
struct PeerAuthFiles {
  std::string secret;
  TlsFiles tls;
};

class PeerAuth {
 public:
  PeerAuth(Runtime& runtime, PeerAuthFiles files);
  ~PeerAuth();
  PeerAuth(const PeerAuth&) = delete;
  PeerAuth& operator=(const PeerAuth&) = delete;

  [[nodiscard]] Status load();
  // Whether a file had changed, and everything has been read again.
  [[nodiscard]] Result<bool> reload_if_changed();

  void start(Duration interval = std::chrono::seconds(10));
  [[nodiscard]] Task<void> stop();

  // Null: not configured.
  [[nodiscard]] std::shared_ptr<const PeerSecrets> secrets() const;
  [[nodiscard]] std::shared_ptr<TlsContext> tls() const;

 private:
  using Fingerprint = std::map<std::string, std::string>;
  [[nodiscard]] Fingerprint fingerprint() const;
  [[nodiscard]] Task<void> watch(Duration interval);

  Runtime& runtime_;
  const PeerAuthFiles files_;
  Gate gate_;
  Fingerprint loaded_;  // by load() and the watch, never at the same time
  mutable Mutex mu_;
  std::shared_ptr<const PeerSecrets> secrets_ GUARDED_BY(mu_);
  std::shared_ptr<TlsContext> tls_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::net
