#include "net/connection_pool.h"

namespace shufflefs::net {

ConnectionPool::ConnectionPool(AsioRuntime& runtime, const NetOptions& options)
    : runtime_(runtime) {
  state(Lane::kQuestions).limit = options.question_connections;
  state(Lane::kPush).limit = options.push_connections;
}

// Whoever leaves hands the place to the first in line, so that a newcomer cannot overtake.
void ConnectionPool::free_place(LaneState& lane) {
  if (lane.line.empty()) {
    --lane.in_use;
    return;
  }
  const std::shared_ptr<Waiter> next = lane.line.front();
  lane.line.pop_front();
  next->granted = true;
  next->timer->wake();
}

// Settles a place in the line whatever happens, also when the waiting coroutine is destroyed.
struct ConnectionPool::Turn {
  ConnectionPool& pool;
  LaneState& lane;
  std::shared_ptr<Waiter> waiter;
  bool taken = false;

  Turn(ConnectionPool& of_pool, LaneState& in_lane)
      : pool(of_pool), lane(in_lane), waiter(std::make_shared<Waiter>()) {
    waiter->timer = pool.runtime_.make_timer();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    std::erase(lane.line, waiter);
    if (waiter->granted && !taken) pool.free_place(lane);
  }
};

Task<Result<ConnectionPool::Slot>> ConnectionPool::acquire(Lane lane_name, TimePoint deadline) {
  LaneState& lane = state(lane_name);
  if (!closed_ && lane.in_use < lane.limit) {
    ++lane.in_use;
    co_return Slot(*this, lane_name);
  }
  Turn turn(*this, lane);
  if (!closed_) {
    lane.line.push_back(turn.waiter);
    co_await turn.waiter->timer->wait_for(deadline - runtime_.now());
  }
  if (closed_) co_return make_error(Code::kCancelled, "the connections are being closed");
  if (!turn.waiter->granted)
    co_return make_error(Code::kTimeout, "every connection was busy until the deadline");
  turn.taken = true;
  co_return Slot(*this, lane_name);
}

void ConnectionPool::close_idle_since(TimePoint before) {
  for (LaneState& lane : lanes_) {
    std::erase_if(lane.idle, [before](const Idle& idle) { return idle.since < before; });
  }
}

void ConnectionPool::drop_idle() {
  for (LaneState& lane : lanes_) lane.idle.clear();
}

void ConnectionPool::close() {
  closed_ = true;
  drop_idle();
  for (Connection* connection : in_use_) connection->close();
  for (LaneState& lane : lanes_) {
    for (const auto& waiter : lane.line) waiter->timer->wake();
  }
}

bool ConnectionPool::Slot::take_idle() {
  auto& idle = pool_->state(lane_).idle;
  while (!idle.empty()) {
    std::unique_ptr<Connection> candidate = std::move(idle.back().connection);
    idle.pop_back();
    if (candidate->stale()) continue;
    adopt(std::move(candidate));
    return true;
  }
  return false;
}

void ConnectionPool::Slot::adopt(std::unique_ptr<Connection> connection) {
  drop();
  connection_ = std::move(connection);
  pool_->in_use_.insert(connection_.get());
  if (pool_->closed_) connection_->close();
}

void ConnectionPool::Slot::drop() {
  if (connection_) pool_->in_use_.erase(connection_.get());
  connection_.reset();
}

ConnectionPool::Slot::~Slot() {
  if (pool_ == nullptr) return;
  LaneState& lane = pool_->state(lane_);
  if (connection_) {
    pool_->in_use_.erase(connection_.get());
    if (keep_ && connection_->usable() && !pool_->closed_) {
      lane.idle.push_back({std::move(connection_), pool_->runtime_.now()});
    }
  }
  pool_->free_place(lane);
}

}  // namespace shufflefs::net
