// The sending side of a client's connection: whole frames, one after the other, by several
// coroutines.
//
// Threads: reactor. Failure: kPeerUnreachable; the connection has to be closed then. Waits are as
// long as the client takes something: who watches stalled() ends them by close().
#pragma once

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <deque>
#include <memory>
#include <vector>

#include "base/semaphore.h"
#include "merge/merged_reader.h"
#include "net/wire.h"

namespace shufflefs::net::relay {

// Blocks that are ready to be sent, and what holds their bytes meanwhile.
struct Outgoing {
  std::deque<Bytes> heads;
  std::vector<std::shared_ptr<merge::MergedReader::Unit>> units;
  std::vector<asio::const_buffer> buffers;
  uint64_t bytes = 0;

  void add(Bytes head) {
    heads.push_back(std::move(head));
    buffers.emplace_back(heads.back().data(), heads.back().size());
  }
  void add(merge::MergedReader::Slice slice) {
    buffers.emplace_back(slice.bytes.data(), slice.bytes.size());
    bytes += slice.bytes.size();
    if (units.empty() || units.back() != slice.unit) units.push_back(std::move(slice.unit));
  }
};

inline constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

class Wire {
 public:
  using Turn = Semaphore::Permit;

  Wire(Runtime& runtime, asio::ip::tcp::socket& socket)
      : runtime_(runtime), socket_(socket), turns_(runtime, 1) {}

  // Nothing after close(). Held while a frame is being sent.
  [[nodiscard]] Task<std::optional<Turn>> turn() {
    return turns_.acquire(1, std::chrono::hours(24));
  }
  // REQUIRES: it is the caller's turn.
  [[nodiscard]] Task<Status> write(std::vector<asio::const_buffer> buffers) {
    writing_since_ = runtime_.now();
    const auto [error, size] = co_await asio::async_write(
        socket_, buffers,
        [this](const boost::system::error_code& failed, std::size_t /*done*/) -> std::size_t {
          writing_since_ = runtime_.now();
          return failed ? 0 : kMostAtOnce;
        },
        kAsTuple);
    writing_since_.reset();
    if (error) co_return make_error(Code::kPeerUnreachable, error.message());
    co_return ok();
  }
  [[nodiscard]] Task<Status> write(std::span<const std::byte> bytes) {
    return write(std::vector{asio::const_buffer(bytes.data(), bytes.size())});
  }
  // A whole frame.
  [[nodiscard]] Task<Status> send(Bytes frame) {
    const auto mine = co_await turn();
    if (!mine) co_return make_error(Code::kCancelled, "the connection was closed here");
    co_return co_await write(std::span<const std::byte>(frame));
  }

  // The client has taken nothing for so long.
  [[nodiscard]] bool stalled(TimePoint now, Duration timeout) const {
    return writing_since_ && now - *writing_since_ > timeout;
  }
  void close() {
    turns_.close();
    (void)::shutdown(socket_.native_handle(), SHUT_RDWR);
  }

 private:
  static constexpr std::size_t kMostAtOnce = std::size_t{256} << 10U;

  Runtime& runtime_;
  asio::ip::tcp::socket& socket_;
  Semaphore turns_;
  std::optional<TimePoint> writing_since_;
};

}  // namespace shufflefs::net::relay
