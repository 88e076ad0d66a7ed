// The secret that all nodes share (--secret-file), and the proofs of knowing it.
//
// The file has one secret, or two on two lines while it is being replaced: this node proves with
// the first and takes proofs by either. A proof is HMAC-SHA-256 over the role of who proves and a
// transcript of the handshake (both hellos with their nonces, and the TLS channel if there is one),
// so it is worth nothing in another handshake, on another channel, or in the other direction.
//
// Threads: constant, shared. Failure: kConfig for the file, kPermission for a proof. Cost: reading
// blocks on the disk, a proof takes about a microsecond. Bytes: docs/wire.md.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "net/secret_file.h"
#include "net/wire.h"

namespace shufflefs::net {

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kProofBytes = 32;
inline constexpr std::size_t kLeastSecretBytes = 16;

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

}  // namespace shufflefs::net
