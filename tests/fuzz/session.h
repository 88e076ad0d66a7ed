// What the targets of whole connections share: the input read as a script, a reactor that the
// target drives, and the client that plays the script against a server in this process, over
// loopback.
//
// Not thread-safe; one client at a time. A server that neither answers nor closes within kPatience
// is a finding: trap.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <functional>
#include <vector>

#include "base/asio_runtime.h"
#include "base/fd.h"
#include "tests/fuzz/targets.h"

namespace shufflefs::fuzz {

// What must hold whatever the input is.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

// Reads numbers and pieces off the front of the input; past its end everything is zero and empty.
class Script {
 public:
  explicit Script(Input input) : rest_(input) {}
  [[nodiscard]] bool done() const { return rest_.empty(); }
  uint64_t number(std::size_t bytes);
  uint8_t byte() { return static_cast<uint8_t>(number(1)); }
  // A length of `length_bytes` bytes, then as many bytes as it says and there are.
  Input piece(std::size_t length_bytes);

 private:
  Input rest_;
};

class Loop {
 public:
  static constexpr std::chrono::seconds kPatience{20};

  void until(const std::function<bool()>& reached);
  void run(Task<void> task);
  // Lets everything that is ready happen.
  void settle() { runtime.context().poll(); }

  AsioRuntime runtime{1};
};

// A connection to a server of the loop on 127.0.0.1.
class Stranger {
 public:
  Stranger(Loop& loop, uint16_t port);

  // Also reads what has come, so that neither side waits for the other. A server that has closed
  // takes nothing.
  void send(std::span<const std::byte> bytes);
  // Says that nothing more comes, and waits until the server has closed. Returns all that it has
  // sent.
  std::vector<std::byte> end();

 private:
  void take();

  Loop& loop_;
  Fd socket_;
  std::vector<std::byte> received_;
  bool closed_ = false;
};

}  // namespace shufflefs::fuzz
