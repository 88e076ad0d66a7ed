// Answers the other nodes: listens, greets, and passes each request to the local node.
//
// Threads: reactor; construct and listen() before the reactor runs, or on it. Ownership: the
// context's objects and the local node outlive the server, and stop() has returned before it is
// destroyed. Failure: a connection that breaks the protocol gets an Error frame, a line in the log
// (peer.protocol_error, limited) and is closed; the others go on. Accept errors such as EMFILE
// pause the listener for 100 ms; beyond the limits of unfinished handshakes the oldest are closed.
// Cost: one coroutine per connection; requests of one connection are answered one after the other.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <list>
#include <map>
#include <string>

#include "base/gate.h"
#include "base/parse.h"
#include "net/connection.h"
#include "net/context.h"
#include "net/dispatch.h"

namespace shufflefs::net {

// The connections whose handshake is not over. There are at most so many in all and from one
// address; when one more comes, the oldest gives way, of that address if it has too many. So a
// flood of connections that say nothing ends itself, and a node that shakes hands at once, be it
// from the flooder's own address, gets through.
// Reactor only. An entry ends before its connection does and before the HalfOpen.
class HalfOpen {
 public:
  HalfOpen(std::size_t max, std::size_t max_per_address)
      : max_(max), max_per_address_(max_per_address) {}

  // Counts its connection until its end, or until it has given way.
  class Entry {
   public:
    Entry(HalfOpen& owner, Connection& connection, std::string address);
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry();
    [[nodiscard]] bool gave_way() const { return gone_; }

   private:
    friend class HalfOpen;
    HalfOpen& owner_;
    bool gone_ = false;
    std::list<Entry*>::iterator place_;
    Connection& connection_;
    const std::string address_;
  };

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  void remove(Entry& entry);
  void make_room(const std::string& address);

  const std::size_t max_;
  const std::size_t max_per_address_;
  std::list<Entry*> entries_;  // the oldest first
  std::map<std::string, std::size_t> per_address_;
};

class PeerServer {
 public:
  PeerServer(Context context, merge::NodeApi& local);

  // Binds and listens; connections wait in the backlog until start(). `address.host` is a numeric
  // address; port 0 takes any free port. kConfig with the remedy if that is not possible.
  [[nodiscard]] Status listen(const HostPort& address);
  [[nodiscard]] uint16_t port() const { return port_; }
  // Told of the sender of each hello that was in order. REQUIRES: before start().
  void on_hello(std::function<void(const merge::NodeName&)> listener) {
    on_hello_ = std::move(listener);
  }
  void start();
  // Closes the listener and every connection; requests in progress are cancelled. Idempotent.
  [[nodiscard]] Task<void> stop();
  [[nodiscard]] std::size_t connections() const { return connections_; }
  [[nodiscard]] std::size_t handshakes() const { return half_open_.size(); }

 private:
  using Acceptor = Token::as_default_on_t<tcp::acceptor>;

  [[nodiscard]] Task<void> accept_loop();
  [[nodiscard]] Task<void> serve(std::unique_ptr<Connection> connection);
  // Who calls.
  [[nodiscard]] Task<Result<merge::NodeName>> greet(std::reference_wrapper<Connection> connection);
  // Answers requests until the peer goes away (no error) or something is wrong.
  [[nodiscard]] Task<Status> answer_requests(std::reference_wrapper<Connection> connection,
                                             merge::NodeName caller);
  [[nodiscard]] Task<void> send_refusal(std::reference_wrapper<Connection> connection,
                                        Error error) const;
  [[nodiscard]] Bytes refusal_head(const Error& error, uint16_t type) const;
  [[nodiscard]] ReceiveRules request_rules() const;

  const Context context_;
  merge::NodeApi& local_;
  PeerMetrics metrics_;
  std::function<void(const merge::NodeName&)> on_hello_;
  Acceptor acceptor_;
  HalfOpen half_open_;
  Gate gate_;
  uint16_t port_ = 0;
  std::size_t connections_ = 0;
};

}  // namespace shufflefs::net
