// What this node shows to other nodes and asks of them: the secret that all nodes share
// (--secret-file), and certificates for TLS. Read from files, and again when the files change, so
// that both are replaced without a restart. An existing connection keeps what it started with.
//
// The secret file has one secret, or two on two lines while it is being replaced: this node proves
// with the first and takes proofs by either. A proof is HMAC-SHA-256 over the role of who proves
// and a transcript of the handshake (both hellos with their nonces, and the TLS channel if there is
// one), so it is worth nothing in another handshake, on another channel, or in the other direction.
//
// Threads: secrets() and tls() from any thread; start() and stop() on the reactor; load() blocks on
// the disk; PeerSecrets is constant. Ownership: the runtime outlives it; stop() has returned before
// it is destroyed. Failure: kConfig with the file and the remedy; kPermission for a proof; a later
// reading that fails is logged (peer.auth_not_reloaded) and changes nothing. Cost: a stat of each
// file every ten seconds, a microsecond for a proof. Bytes: docs/wire.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/gate.h"
#include "base/mutex.h"
#include "net/secret_file.h"
#include "net/tls.h"

namespace shufflefs::net {

inline constexpr std::size_t kMinSecretBytes = 16;

enum class Role { kCaller, kCallee };

// What both sides have seen of a handshake: the headers of hello and answer as they were sent, and
// the TLS channel's exporter (empty without TLS).
[[nodiscard]] Bytes transcript_of(std::span<const std::byte> hello,
                                  std::span<const std::byte> answer,
                                  std::span<const std::byte> channel);

class PeerSecrets {
 public:
  // REQUIRES: one or two.
  explicit PeerSecrets(std::vector<SecretText> secrets) : secrets_(std::move(secrets)) {}
  [[nodiscard]] static Result<std::shared_ptr<const PeerSecrets>> read(
      const std::filesystem::path& file);

  // `secret` is what check() has returned, for an answer by the same one.
  [[nodiscard]] Result<Bytes> prove(Role role, std::span<const std::byte> transcript,
                                    std::size_t secret = 0) const;
  // Which secret the other side has proven to know.
  [[nodiscard]] Result<std::size_t> check(Role role, std::span<const std::byte> transcript,
                                          std::span<const std::byte> proof) const;

 private:
  const std::vector<SecretText> secrets_;
};

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
