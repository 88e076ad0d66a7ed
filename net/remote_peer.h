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

#include "base/parse.h"
#include "net/connection_pool.h"
#include "net/hello.h"
#include "net/peer_health.h"

namespace shufflefs::net {

class RemotePeer final : public merge::NodeApi, public std::enable_shared_from_this<RemotePeer> {
 public:
  // Called on the reactor after each hello and heartbeat, with who answered.
  using Listener = std::function<void(const NodeIdentity&)>;

  // `expected` may be empty: whoever answers at the address; its name is expected from then on.
  RemotePeer(Context context, std::string expected, HostPort address, Listener listener);

  Task<Result<merge::PushReply>> push(merge::PushRequest request) override;
  Task<Status> announce(merge::AnnounceRequest request) override;
  Task<Result<merge::PartitionInfo>> merged_info(merge::ShuffleKey shuffle,
                                                 merge::PartitionId partition) override;
  Task<Result<merge::PartitionInfo>> partition_info(merge::ShuffleKey shuffle,
                                                    merge::PartitionId partition) override;
  Task<Result<merge::ShuffleInfo>> shuffle_info(merge::ShuffleKey shuffle) override;
  Task<Result<std::vector<merge::ShuffleKey>>> list_shuffles() override;
  Task<Result<Buffer>> read_merged(merge::ShuffleKey shuffle, merge::PartitionId partition,
                                   uint64_t offset, uint32_t length) override;
  Task<Result<Buffer>> read_block(merge::ShuffleKey shuffle, merge::MapId map, uint64_t commit,
                                  merge::PartitionId partition, uint64_t offset,
                                  uint32_t length) override;
  Task<Status> drop(merge::AppId app, std::optional<merge::ShuffleId> shuffle,
                    uint64_t life) override;
  Task<Result<std::string>> report(std::string about) override;

  // Asks for a sign of life whatever the health is, gives and takes what one of us does not know of
  // the members, and closes connections that have been idle for long.
  [[nodiscard]] Task<Status> heartbeat();
  // Brings it our own record, for one.
  [[nodiscard]] Task<Status> tell_of_members();
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
  struct Call {
    MessageType type{};
    Bytes header;
    std::span<const std::byte> payload;  // the caller's, kept until the call has ended
    uint32_t answer_bytes = 0;           // of payload in the answer, exactly
  };
  struct Answer {
    Bytes header;
    Buffer payload;
    ByteBudget::Lease header_lease;
  };

  // Static, with the peer as a parameter: a parameter lives as long as the coroutine, `this` may
  // not.
  static Task<Result<Answer>> ask(Self self, Call call);
  static Task<Result<Answer>> ask_in(Self self, Call call, ConnectionPool::Slot slot,
                                     TimePoint started);
  static Task<Status> connect(Self self, std::reference_wrapper<ConnectionPool::Slot> slot,
                              TimePoint started, TimePoint deadline);
  static Task<Result<Answer>> exchange(Self self, std::reference_wrapper<Connection> connection,
                                       Bytes head, std::reference_wrapper<const Call> call,
                                       TimePoint deadline);
  template <class T>
  static Task<Result<T>> ask_for(Self self, Call call,
                                 Result<T> (*decode)(std::span<const std::byte>));
  static Task<Status> ask_to(Self self, Call call);
  static Task<Result<Buffer>> ask_for_bytes(Self self, Call call);
  static Task<Result<merge::PushReply>> push_from(Self self, merge::PushRequest request);
  static Task<Status> announce_from(Self self, merge::AnnounceRequest request);
  static Task<Status> heartbeat_from(Self self);
  static Task<Status> compare_members(Self self);

  [[nodiscard]] Duration timeout_of(MessageType type) const;
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
