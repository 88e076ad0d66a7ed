// One TCP connection that carries frames, in the clear or in TLS. Knows bytes, deadlines and
// limits, but no message.
//
// Threads: reactor. One send and one receive at a time. Ownership: the caller keeps the Connection
// until its calls have returned; destroying it closes the socket. Failure: kTimeout when a deadline
// passed (the socket is closed then, since half a frame cannot be continued), kPeerUnreachable when
// it broke, kCancelled after close(), kProtocol and kCorruptData for bad frames. After an error,
// usable() tells whether the connection may still be used. Cost: one gathered write per frame. A
// frame above kUnleasedBytes waits for a lease of the memory budget before it is read: the socket
// is simply not read meanwhile, which is the back-pressure that the sender feels.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "net/context.h"
#include "net/peer_auth.h"
#include "net/peer_metrics.h"
#include "net/tls.h"
#include "net/wire.h"

namespace shufflefs::net {

using asio::ip::tcp;
using Token = asio::as_tuple_t<asio::use_awaitable_t<>>;
using Socket = Token::as_default_on_t<tcp::socket>;

inline constexpr uint64_t kUnleasedBytes = 16U << 10U;

struct Frame {
  uint16_t type = 0;
  Bytes header;
  Buffer payload;
  ByteBudget::Lease header_lease;  // where there is no payload to carry it
};

struct ReceiveRules {
  TimePoint first_byte_by;
  Duration rest_within;  // from the first byte on, not counting the wait for memory
  TimePoint whole_by = TimePoint::max();  // likewise
  std::function<Result<FrameLimits>(uint16_t type)> limits;
  Duration budget_patience;
};

class Connection {
 public:
  Connection(AsioRuntime& runtime, ByteBudget& budget, PeerMetrics& metrics, Socket socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Tries the endpoints in order.
  [[nodiscard]] Task<Status> connect(std::vector<tcp::endpoint> endpoints, TimePoint deadline);
  // From here on everything is in TLS. Failure: also kPermission where a certificate is refused, by
  // either side, or the other side does not speak TLS. REQUIRES: nothing has been received.
  [[nodiscard]] Task<Status> start_tls(std::shared_ptr<TlsContext> context, Role role,
                                       TimePoint deadline);
  // Whether the other side's certificate is for that node. Without TLS any name will do.
  [[nodiscard]] Status check_certificate(std::string_view node) const;
  // What only this TLS channel has; empty without TLS.
  [[nodiscard]] Result<Bytes> channel() const;
  // `head` is from encode_frame_head; the payload stays the caller's until the send has returned.
  [[nodiscard]] Task<Status> send(Bytes head, std::span<const std::byte> payload,
                                  TimePoint deadline);
  // An explanation after a receive that failed: tried even though the connection is not usable any
  // more.
  [[nodiscard]] Task<Status> send_last(Bytes head, TimePoint deadline);
  // kNoMemory and kTooLarge from the budget leave the connection usable: the frame has been read
  // and thrown away.
  [[nodiscard]] Task<Result<Frame>> receive(ReceiveRules rules);
  // Says that nothing more will be sent and reads until the peer closes, within `patience`: without
  // it, closing while unread bytes are in the socket would reset the connection, and the peer would
  // not see our last frame.
  [[nodiscard]] Task<void> linger(Duration patience);

  // From now on every call fails with kCancelled, also those in progress.
  void close();
  [[nodiscard]] bool usable() const { return usable_; }
  // Whether any byte has arrived since the receive in progress, or the last one, began.
  [[nodiscard]] bool heard() const { return heard_; }
  // The type of the frame that the last receive() read and threw away for want of memory.
  [[nodiscard]] uint16_t refused_type() const { return refused_type_; }
  // Whether a connection from a pool has been closed by the peer or has unexpected bytes. One
  // system call.
  [[nodiscard]] bool stale();
  [[nodiscard]] const std::string& remote() const { return remote_; }  // with the port
  [[nodiscard]] const std::string& remote_host() const { return remote_host_; }

 private:
  using TlsStream = asio::ssl::stream<Socket&>;
  struct Moved {
    boost::system::error_code error;
    std::size_t bytes = 0;
  };

  // Shared with the watchdog's completion, which may run after the Connection is gone.
  struct State {
    State(AsioRuntime& runtime, Socket moved)
        : socket(std::move(moved)), watchdog(runtime.context()) {}
    Socket socket;
    std::unique_ptr<TlsStream> tls;
    asio::steady_timer watchdog;
    uint64_t deadline_number = 0;
    bool timed_out = false;
    bool closed = false;
    bool tls_ready = false;
  };
  class Deadline;

  void set_options();
  // Socket or TLS. REQUIRES: the bytes stay where they are until the end.
  [[nodiscard]] Task<Moved> write_all(std::array<asio::const_buffer, 2> buffers);
  [[nodiscard]] Task<Moved> read_all(asio::mutable_buffer into);
  [[nodiscard]] Task<Moved> read_some(asio::mutable_buffer into);
  Error failure(std::string_view doing, const boost::system::error_code& error);
  Error tls_failure(std::string_view doing, const boost::system::error_code& error);
  [[nodiscard]] Task<Status> read_exactly(std::span<std::byte> into, TimePoint deadline,
                                          std::string doing);
  [[nodiscard]] Task<Result<std::size_t>> read_first(std::span<std::byte> into, TimePoint deadline);
  [[nodiscard]] Task<Status> discard(uint64_t bytes, TimePoint deadline);
  [[nodiscard]] Task<Result<Frame>> receive_body(FramePrefix prefix, ByteBudget::Lease lease,
                                                 TimePoint deadline);
  template <class T>
  [[nodiscard]] Result<T> broken(Error error);

  AsioRuntime& runtime_;
  ByteBudget& budget_;
  PeerMetrics& metrics_;
  std::shared_ptr<State> state_;
  std::string remote_;
  std::string remote_host_;
  bool usable_ = true;
  bool heard_ = false;
  uint16_t refused_type_ = 0;
};

}  // namespace shufflefs::net
