#include "support/stranger.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <system_error>

namespace shufflefs::testing {

Fd connect_to(const HostPort& address) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::inet_pton(AF_INET, address.host.c_str(), &to.sin_addr) != 1 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    throw std::system_error(errno, std::generic_category(), "connect to " + to_string(address));
  }
  return socket;
}

// Up to `wanted` bytes altogether: what is not asked for stays in the kernel, as with a slow
// reader.
void Stranger::take(std::size_t wanted) {
  std::array<std::byte, 16384> bytes{};
  while (!closed_ && received_.size() < wanted) {
    const std::size_t room = std::min(bytes.size(), wanted - received_.size());
    const ssize_t count = ::recv(socket_.get(), bytes.data(), room, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) closed_ = true;
    if (count > 0) received_.insert(received_.end(), bytes.begin(), bytes.begin() + count);
  }
}

void Stranger::send(std::span<const std::byte> bytes) {
  loop_.until([&] {
    while (!bytes.empty()) {
      const ssize_t sent =
          ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        take(SIZE_MAX);
        return closed_;
      }
      if (sent < 0) return true;  // closed; what the other side said is still to be read
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  });
}

std::vector<std::byte> Stranger::receive(std::size_t count) {
  loop_.until([&] {
    take(count);
    return closed_ || received_.size() >= count;
  });
  const auto end =
      received_.begin() + static_cast<std::ptrdiff_t>(std::min(count, received_.size()));
  std::vector<std::byte> first(received_.begin(), end);
  received_.erase(received_.begin(), end);
  return first;
}

std::vector<std::byte> Stranger::receive_all() { return receive(SIZE_MAX); }

std::vector<std::byte> Stranger::end() {
  ::shutdown(socket_.get(), SHUT_WR);
  return receive_all();
}

}  // namespace shufflefs::testing
