// A server that does nothing but authenticate and echo, for Spark's own client
// (tests/spark/AuthClient.java): RPCs go to ServerAuth until it is done, then they come back as
// they are, through the cipher if there is one.
//
//   auth_echo_server SECRET_FILE [no-engine] [no-sasl]
//
// Prints the port on 127.0.0.1, serves until its standard input ends. One thread per connection,
// blocking: a test program, not an example.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "base/endian.h"
#include "base/fd.h"
#include "net/ess/auth/server_auth.h"

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kRpcHeaderBytes = 1 + 8 + 4;
constexpr std::byte kRpcRequest{3};
constexpr std::byte kRpcResponse{4};
constexpr std::byte kRpcFailure{5};

struct Settings {
  std::shared_ptr<const AuthSecret> secret;
  AuthPolicy policy;
};

class Connection {
 public:
  Connection(Fd fd, Settings settings)
      : fd_(std::move(fd)), auth_(std::move(settings.secret), settings.policy) {}

  void run() {
    while (read_more() && handle_frames()) {
    }
  }

 private:
  bool read_more() {
    Bytes buffer(std::size_t{64} << 10U);
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    buffer.resize(static_cast<std::size_t>(count));
    return take(buffer);
  }

  bool take(std::span<const std::byte> bytes) {
    if (!cipher_) {
      plain_.insert(plain_.end(), bytes.begin(), bytes.end());
      return true;
    }
    const Status opened = cipher_->open(bytes, plain_);
    if (!opened) fmt::print(stderr, "open: {}\n", opened.error().message);
    return bool(opened);
  }

  bool handle_frames() {
    while (plain_.size() >= kLengthBytes) {
      const auto length = load_be<uint64_t>(plain_.data());
      if (length < kLengthBytes + kRpcHeaderBytes || length > (1U << 26U)) return false;
      if (plain_.size() < length) return true;
      const Bytes frame(plain_.begin() + kLengthBytes,
                        plain_.begin() + static_cast<std::ptrdiff_t>(length));
      plain_.erase(plain_.begin(), plain_.begin() + static_cast<std::ptrdiff_t>(length));
      if (frame[0] != kRpcRequest || !handle(frame)) return false;
    }
    return true;
  }

  bool handle(const Bytes& frame) {
    const auto request = load_be<uint64_t>(&frame[1]);
    const auto body = std::span(frame).subspan(kRpcHeaderBytes);
    if (auth_.done()) return send(kRpcResponse, request, body);
    const AuthResponse answer = auth_.receive(body);
    if (answer.refusal) {
      return send(kRpcFailure, request, std::as_bytes(std::span(*answer.refusal))) && !answer.close;
    }
    if (!send(kRpcResponse, request, answer.reply)) return false;
    if (!answer.done) return true;
    cipher_ = auth_.take_cipher();
    const Bytes behind = std::move(plain_);
    plain_.clear();
    return take(behind);
  }

  // Both have the same layout: type, request, length, bytes.
  bool send(std::byte type, uint64_t request, std::span<const std::byte> body) {
    Bytes frame(kLengthBytes + kRpcHeaderBytes);
    store_be<uint64_t>(frame.data(), frame.size() + body.size());
    frame[kLengthBytes] = type;
    store_be<uint64_t>(&frame[kLengthBytes + 1], request);
    store_be<uint32_t>(&frame[kLengthBytes + 9], static_cast<uint32_t>(body.size()));
    frame.insert(frame.end(), body.begin(), body.end());
    if (!cipher_) return write(frame);
    Bytes sealed;
    for (std::size_t at = 0; at < frame.size(); at += Cipher::kMaxSealBytes) {
      const std::size_t size = std::min(Cipher::kMaxSealBytes, frame.size() - at);
      if (!cipher_->seal(std::span(frame).subspan(at, size), sealed)) return false;
    }
    return write(sealed);
  }

  bool write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
  }

  Fd fd_;
  ServerAuth auth_;
  std::unique_ptr<Cipher> cipher_;
  Bytes plain_;
};

int serve(const Settings& settings) {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), generic, &size) != 0) {
    std::perror("auth_echo_server");
    return 1;
  }
  fmt::print("{}\n", ntohs(address.sin_port));
  std::fflush(stdout);
  std::thread([] {
    while (std::getchar() != EOF) {
    }
    std::_Exit(0);
  }).detach();
  std::vector<std::jthread> connections;
  while (true) {
    Fd fd(::accept(listener.get(), nullptr, nullptr));
    if (!fd) return 1;
    connections.emplace_back([connection = std::make_shared<Connection>(std::move(fd), settings)] {
      connection->run();
    });
  }
}

}  // namespace
}  // namespace shufflefs::net::ess

int main(int count, char** arguments) {
  using namespace shufflefs::net::ess;  // NOLINT(google-build-using-namespace): only here
  if (count < 2) return 2;
  auto secret = read_secret_file(arguments[1]);
  if (!secret) {
    fmt::print(stderr, "{}\n", secret.error().message);
    return 1;
  }
  Settings settings{*secret, {}};
  for (int i = 2; i < count; ++i) {
    const std::string_view word = arguments[i];
    if (word == "no-engine") settings.policy.engine = false;
    if (word == "no-sasl") settings.policy.sasl = false;
  }
  return serve(settings);
}
