#include "net/connection_pool.h"

namespace shufflefs::net {

ConnectionPool::ConnectionPool(AsioRuntime& runtime, const NetOptions& options)
    : runtime_(runtime),
      lanes_{LaneState{Semaphore(runtime, options.question_connections), {}},
             LaneState{Semaphore(runtime, options.push_connections), {}},
             LaneState{Semaphore(runtime, 1), {}}} {}

Task<Result<ConnectionPool::Slot>> ConnectionPool::acquire(Lane lane, TimePoint deadline) {
  auto place = co_await state(lane).places.acquire(1, deadline - runtime_.now());
  if (closed_) co_return make_error(Code::kCancelled, "the connections are being closed");
  if (!place) co_return make_error(Code::kTimeout, "every connection was busy until the deadline");
  co_return Slot(*this, lane, *std::move(place));
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
  for (LaneState& lane : lanes_) lane.places.close();
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
  if (pool_ == nullptr || !connection_) return;
  pool_->in_use_.erase(connection_.get());
  if (keep_ && connection_->usable() && !pool_->closed_)
    pool_->state(lane_).idle.push_back({std::move(connection_), pool_->runtime_.now()});
}

}  // namespace shufflefs::net
