// The connections to one peer: a few per lane, so that bulk never stands in front of a question,
// nor either in front of a heartbeat. One request at a time per connection; who finds none free
// waits in line.
//
// Threads: reactor. Ownership: the pool outlives its Slots (a RemotePeer's calls hold the peer). A
// Slot is a place in a lane; it is given back by its destructor, with the connection only if keep()
// was called. Failure: acquire gives kTimeout when the deadline passes in the line, kCancelled
// after close().
#pragma once

#include <array>
#include <memory>
#include <set>
#include <vector>

#include "base/semaphore.h"
#include "net/connection.h"

namespace shufflefs::net {

enum class Lane : uint8_t { kQuestions = 0, kPush = 1, kHeartbeat = 2 };

class ConnectionPool {
 public:
  ConnectionPool(AsioRuntime& runtime, const NetOptions& options);
  ~ConnectionPool() { close(); }
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  class Slot {
   public:
    Slot(Slot&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          lane_(other.lane_),
          place_(std::move(other.place_)),
          connection_(std::move(other.connection_)),
          keep_(other.keep_) {}
    Slot& operator=(Slot&&) = delete;
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot();

    // An idle connection of the lane that still looks alive, if there is one.
    bool take_idle();
    void adopt(std::unique_ptr<Connection> connection);
    void drop();
    [[nodiscard]] Connection& connection() { return *connection_; }
    // The connection may be used by the next one.
    void keep() { keep_ = true; }

   private:
    friend class ConnectionPool;
    Slot(ConnectionPool& pool, Lane lane, Semaphore::Permit place)
        : pool_(&pool), lane_(lane), place_(std::move(place)) {}
    ConnectionPool* pool_;
    Lane lane_;
    Semaphore::Permit place_;
    std::unique_ptr<Connection> connection_;
    bool keep_ = false;
  };

  [[nodiscard]] Task<Result<Slot>> acquire(Lane lane, TimePoint deadline);
  void close_idle_since(TimePoint before);
  void drop_idle();
  // Closes everything, also connections in use; calls in progress end with kCancelled.
  void close();
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  struct Idle {
    std::unique_ptr<Connection> connection;
    TimePoint since;
  };
  struct LaneState {
    Semaphore places;
    std::vector<Idle> idle;  // the most recently used one last
  };

  LaneState& state(Lane lane) { return lanes_.at(static_cast<std::size_t>(lane)); }

  AsioRuntime& runtime_;
  bool closed_ = false;
  std::array<LaneState, 3> lanes_;
  std::set<Connection*> in_use_;
};

}  // namespace shufflefs::net
