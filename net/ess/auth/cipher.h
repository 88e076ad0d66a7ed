// What stands between the frames and the socket once a connection is encrypted: sealed bytes in,
// plain bytes out, and the reverse. Plain bytes are a stream: neither side's frames need to agree
// with the pieces in which they are sealed.
//
//   Bytes plain;
//   CO_TRY(cipher->open(what_the_socket_gave, plain));   // then parse frames out of `plain`
//   CO_TRY(cipher->seal(piece, sealed));                 // then write `sealed`, in the same order
//
// Threads: one connection, one thread at a time; open() and seal() share no state that changes
// after the first successful open(). Ownership: the connection's; keys are wiped with it. Failure:
// kProtocol, after which the cipher refuses everything: close the connection without an answer, as
// nobody could read it. Cost: open() keeps at most one incomplete piece (kMaxOpenPieceBytes and
// its framing), never more than has arrived; seal() allocates what it appends.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.h"
#include "net/wire.h"

namespace shufflefs::net::ess {

class Cipher {
 public:
  Cipher() = default;
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  virtual ~Cipher() = default;

  // The largest sealed piece that is taken. Spark's clients send 64 KiB
  // (spark.network.sasl.maxEncryptedBlockSize) or 32 KiB.
  static constexpr std::size_t kMaxOpenPieceBytes = std::size_t{1} << 20U;

  // Appends to `plain` what `sealed`, together with what came before, makes readable. May append
  // nothing. Feed bounded reads (64 KiB, say): what is appended is at most what was kept plus what
  // is given.
  [[nodiscard]] virtual Status open(std::span<const std::byte> sealed, Bytes& plain) = 0;

  // Appends the sealed form of `plain` to `sealed`. Pieces must reach the wire in the order of the
  // calls. REQUIRES: plain.size() <= max_seal_bytes(); open() has produced something before, as a
  // server never speaks first.
  [[nodiscard]] virtual Status seal(std::span<const std::byte> plain, Bytes& sealed) = 0;

  // How much may be given to seal() at once. Always at least 4096.
  [[nodiscard]] virtual std::size_t max_seal_bytes() const = 0;
};

}  // namespace shufflefs::net::ess
