// One connection of a Spark client: bytes in, frames to the session, and the outbox emptied into
// the socket as fast as the client takes it.
//
// Threads: reactor; what is sent is sent on the lanes' threads (net/ess/outbox.h). Ownership:
// shared by its two coroutines and whoever watches it. Failure: garbage, a limit, a stalled client
// or disk close the connection, with a metric and a line in the log. Cost: two coroutines; an idle
// connection has no buffer and no thread.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "net/ess/auth/server_auth.h"
#include "net/ess/session.h"

namespace shufflefs::net::ess {

class EssConnection {
 public:
  using Socket = asio::ip::tcp::socket;

  // With an `auth`, nothing is served before it is done.
  EssConnection(Services& services, Socket socket, std::unique_ptr<ServerAuth> auth);
  ~EssConnection();
  EssConnection(const EssConnection&) = delete;
  EssConnection& operator=(const EssConnection&) = delete;

  // Both run until the connection ends; the reader ends the writer.
  [[nodiscard]] static Task<void> read_forever(std::shared_ptr<EssConnection> self);
  [[nodiscard]] static Task<void> write_forever(std::shared_ptr<EssConnection> self);

  // Ends what has stood still for too long. Every few seconds.
  void watch(TimePoint now);
  // Whatever waits ends now.
  void close();

  [[nodiscard]] const std::string& remote() const { return remote_; }

 private:
  [[nodiscard]] Task<Status> read();
  [[nodiscard]] Task<Status> take_frames();
  [[nodiscard]] Task<Status> take_frame(std::span<const std::byte> bytes);
  [[nodiscard]] Status authenticate(const ClientFrame& frame);
  [[nodiscard]] Status keep(std::span<const std::byte> bytes);
  // Lets the writer send what is there, and the client see that nothing more comes.
  [[nodiscard]] Task<void> finish();
  [[nodiscard]] Task<void> wait_for_room();
  void send_responses();
  void report(const Error& error);

  Services& services_;
  Socket socket_;
  std::string remote_;
  Outbox outbox_;
  Session session_;
  std::unique_ptr<ServerAuth> auth_;
  std::unique_ptr<Cipher> cipher_;
  Bytes input_;  // what is not yet a whole frame
  Usage::Share input_share_;
  TimePoint input_since_;  // when the first byte of it came
  const TimePoint opened_;
  std::unique_ptr<Timer> writer_wakes_;
  std::unique_ptr<Timer> reader_wakes_;
  bool closed_ = false;
  bool pumping_ = false;  // on a lane, or on its way there
  bool waits_for_client_ = false;
  bool client_ended_ = false;        // it sends nothing more
  std::optional<TimePoint> ending_;  // nothing more is read; since when
};

}  // namespace shufflefs::net::ess
