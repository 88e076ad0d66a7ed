// Another node, asked over the network.
//
// Threads: reactor; health() and address() from any thread. Ownership: by shared_ptr; every call
// holds the peer until it has ended, so a caller may let go of it. Failure: an error that the other
// node answered arrives unchanged (code and message); errors of the way there name the peer:
// kPeerUnreachable, kTimeout, kProtocol, kVersion, kWrongPeer; kCancelled after close(). Bound:
// every call ends within request_timeout (payload_timeout for push and reads), plus budget_patience
// if the memory budget is full. A failed connect or broken request marks the peer down; calls then
// fail at once until the back-off has passed.
//
// Retry: when a pooled connection breaks before any byte of the answer, the peer has most likely
// closed it while idle or has restarted, and the request is sent once more on a fresh connection.
// All requests allow that: a push that was merged already is recognised as a duplicate.
#pragma once

#include <functional>
#include <memory>

#include "base/mutex.h"
#include "base/parse.h"
#include "net/connection_pool.h"
#include "net/node_proxy.h"

namespace shufflefs::net {

// Whether a peer is up, why not, and when it may be tried again. After a failure, calls fail at
// once until a pause has passed, which doubles with each failure in a row. The heartbeat does not
// ask refusal(), so that a peer that comes back is noticed. Any thread.
class PeerHealth {
 public:
  explicit PeerHealth(const NetOptions& options)
      : backoff_first_(options.backoff_first),
        backoff_limit_(options.backoff_limit),
        pause_(options.backoff_first) {}

  struct View {
    bool up = false;
    std::string reason;  // why it is not up
    double round_trip_ms = 0;
  };
  [[nodiscard]] View view() const;

  // The reason to fail at once, if there is one.
  [[nodiscard]] std::optional<std::string> refusal(TimePoint now) const;
  // Both return true when up or down has changed.
  bool succeeded();
  // `started`: when the failed call began. Of several calls that fail together only the first one
  // counts.
  bool failed(const std::string& reason, TimePoint started, TimePoint now);
  void set_round_trip(Duration duration);

 private:
  const Duration backoff_first_;
  const Duration backoff_limit_;
  mutable Mutex mu_;
  bool up_ GUARDED_BY(mu_) = false;
  bool down_ GUARDED_BY(mu_) = false;  // neither up nor down: not tried yet
  std::string reason_ GUARDED_BY(mu_) = "not contacted yet";
  double round_trip_ms_ GUARDED_BY(mu_) = 0;
  Duration pause_ GUARDED_BY(mu_);  // before the next try
  TimePoint failed_at_ GUARDED_BY(mu_){};
  TimePoint retry_at_ GUARDED_BY(mu_){};
};

class RemotePeer final : public NodeProxy {
 public:
  // Called on the reactor after each hello and heartbeat, with who answered.
  using Listener = std::function<void(const NodeIdentity&)>;

  // `expected` may be empty: whoever answers at the address; its name is expected from then on.
  RemotePeer(Context context, std::string expected, HostPort address, Listener listener);

  // Asks for a sign of life whatever the health is, gives and takes what one of us does not know of
  // the members, and closes connections that have been idle for long.
  [[nodiscard]] Task<Status> heartbeat() { return heartbeat_of(self()); }
  // Brings it our own record, for one.
  [[nodiscard]] Task<Status> tell_of_members() { return compare_members(self()); }
  // Whether the peer had another list of members at the last heartbeat, and then what was missing.
  // Reactor only.
  [[nodiscard]] const std::optional<merge::ViewDifference>& difference() const {
    return difference_;
  }
  // Closes every connection and forgets the listener; calls in progress and later ones end with
  // kCancelled.
  void close();

  [[nodiscard]] PeerHealth::View health() const { return health_.view(); }
  [[nodiscard]] const HostPort& address() const { return address_; }

 private:
  using Self = std::shared_ptr<RemotePeer>;
  Self self() { return std::static_pointer_cast<RemotePeer>(shared_from_this()); }
  static Task<Status> heartbeat_of(Self self);
  static Task<Status> compare_members(Self self);

  Task<Result<Carried>> carry(Call call) override;
  [[nodiscard]] Error bad_response(MessageType type, Error error) override;
  [[nodiscard]] Task<Result<Carried>> carry_in(std::reference_wrapper<const Call> call,
                                               ConnectionPool::Slot slot, TimePoint started);
  [[nodiscard]] Task<Status> connect(std::reference_wrapper<ConnectionPool::Slot> slot,
                                     TimePoint started, TimePoint deadline);
  [[nodiscard]] Task<Result<Carried>> exchange(std::reference_wrapper<Connection> connection,
                                               Bytes head, std::reference_wrapper<const Call> call,
                                               TimePoint deadline);

  [[nodiscard]] Duration timeout_of(MessageType type) const {
    return NodeProxy::timeout_of(context_.options, type);
  }
  // Why to fail at once.
  [[nodiscard]] std::optional<Error> down(MessageType type) const;
  [[nodiscard]] std::string label() const;
  void heard_from(const NodeIdentity& who);
  void count_payloads(uint64_t pushed, uint64_t fetched);
  void mark_up();
  void mark_down(const Error& error, TimePoint started);

  const Context context_;
  const HostPort address_;
  PeerMetrics metrics_;
  PeerHealth health_;  // own lock
  // Reactor only.
  std::string expected_;
  Listener listener_;
  std::optional<merge::ViewDifference> difference_;
  ConnectionPool pool_;
};

}  // namespace shufflefs::net
