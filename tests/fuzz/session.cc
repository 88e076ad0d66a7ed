#include "tests/fuzz/session.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace shufflefs::fuzz {

uint64_t Script::number(std::size_t bytes) {
  uint64_t value = 0;
  for (; bytes > 0 && !rest_.empty(); --bytes, rest_ = rest_.subspan(1))
    value = (value << 8U) | std::to_integer<uint64_t>(rest_.front());
  return value;
}

Input Script::piece(std::size_t length_bytes) {
  const std::size_t length = std::min<std::size_t>(number(length_bytes), rest_.size());
  const Input taken = rest_.first(length);
  rest_ = rest_.subspan(length);
  return taken;
}

void Loop::until(const std::function<bool()>& reached) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!reached()) {
    runtime.context().run_one_for(std::chrono::milliseconds(5));
    require(std::chrono::steady_clock::now() < give_up);
  }
}

void Loop::run(Task<void> task) {
  bool done = false;
  asio::co_spawn(runtime.executor(), std::move(task), [&done](std::exception_ptr thrown) {
    require(thrown == nullptr);
    done = true;
  });
  until([&done] { return done; });
}

Stranger::Stranger(Loop& loop, uint16_t port)
    : loop_(loop), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
          0);
}

void Stranger::take() {
  std::array<std::byte, 16384> bytes{};
  while (!closed_) {
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) closed_ = true;
    if (count > 0) received_.insert(received_.end(), bytes.begin(), bytes.begin() + count);
  }
}

void Stranger::send(std::span<const std::byte> bytes) {
  loop_.until([&] {
    take();
    while (!closed_ && !bytes.empty()) {
      const ssize_t sent =
          ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return false;
      if (sent < 0) break;  // the server has closed; what it said is still to be read
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  });
}

std::vector<std::byte> Stranger::end() {
  ::shutdown(socket_.get(), SHUT_WR);
  loop_.until([&] {
    take();
    return closed_;
  });
  return std::move(received_);
}

}  // namespace shufflefs::fuzz
