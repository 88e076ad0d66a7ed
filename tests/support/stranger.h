// The other end of a connection with a server or a client of this process: sends and receives plain
// bytes, while the loop in which the tested side runs goes on. Behind the tests of net/ and the
// fuzzed sessions.
//
// Threads: the loop's, one at a time. Failure: waiting in vain throws (run_task.h); a side that has
// closed takes nothing and gives nothing.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/parse.h"
#include "support/run_task.h"

namespace shufflefs::testing {

class Stranger {
 public:
  // Connected; by connect_to(), or accepted.
  Stranger(Loop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

  // Also takes what has come, so that neither side waits for the other.
  void send(std::span<const std::byte> bytes);
  // Exactly that many bytes; fewer if the other side closes before.
  std::vector<std::byte> receive(std::size_t count);
  // Everything until the other side closes.
  std::vector<std::byte> receive_all();
  // Says that nothing more comes, then receive_all().
  std::vector<std::byte> end();

 private:
  void take(std::size_t wanted);

  Loop& loop_;
  Fd socket_;
  std::vector<std::byte> received_;
  bool closed_ = false;
};

// Throws if there is nobody. `address`: IPv4.
[[nodiscard]] Fd connect_to(const HostPort& address);

}  // namespace shufflefs::testing
