#include "merge/push_queue.h"

#include <algorithm>

namespace shufflefs::merge {
namespace {

// The entry behind `last`, or the first one: round-robin that needs no list of its own.
template <class Map, class Key>
auto next_after(Map& map, const Key& last) {
  const auto it = map.upper_bound(last);
  return it != map.end() ? it : map.begin();
}

}  // namespace

void PushQueue::make_ready(PushChunk chunk) {
  const ShuffleKey& key = chunk.output->shuffle;
  apps_[key.app].shuffles[key.shuffle].groups[chunk.group].push_back(std::move(chunk));
}

void PushQueue::add(PushChunk chunk, TimePoint due) {
  ++chunks_;
  blocks_ += chunk.blocks.size();
  bytes_ += chunk.bytes;
  later_.emplace(due, std::move(chunk));
}

void PushQueue::count_out(const PushChunk& chunk) {
  --chunks_;
  blocks_ -= chunk.blocks.size();
  bytes_ -= chunk.bytes;
}

void PushQueue::promote(TimePoint now) {
  while (!later_.empty() && later_.begin()->first <= now) {
    make_ready(std::move(later_.begin()->second));
    later_.erase(later_.begin());
  }
}

bool PushQueue::has_due(TimePoint now) {
  promote(now);
  return !apps_.empty();
}

std::optional<TimePoint> PushQueue::next_due() const {
  if (later_.empty()) return std::nullopt;
  return later_.begin()->first;
}

std::vector<PushChunk> PushQueue::take(uint64_t bytes, std::size_t blocks, TimePoint now) {
  promote(now);
  std::vector<PushChunk> message;
  if (apps_.empty()) return message;
  const auto app = next_after(apps_, last_app_);
  last_app_ = app->first;
  auto& shuffles = app->second.shuffles;
  const auto shuffle = next_after(shuffles, app->second.last_shuffle);
  app->second.last_shuffle = shuffle->first;

  Groups& groups = shuffle->second.groups;
  uint64_t bytes_taken = 0;
  std::size_t blocks_taken = 0;
  const auto fits = [&](const PushChunk& chunk) {
    const PushChunk& first = message.front();
    return !first.alone && !chunk.alone && chunk.offer == first.offer &&
           chunk.output->life == first.output->life && chunk.output->owner == first.output->owner &&
           bytes_taken + chunk.bytes <= bytes && blocks_taken + chunk.blocks.size() <= blocks;
  };
  for (auto group = next_after(groups, shuffle->second.last_group);
       group != groups.end() && (message.empty() || fits(group->second.front()));) {
    shuffle->second.last_group = group->first;
    std::deque<PushChunk>& waiting = group->second;
    while (!waiting.empty() && (message.empty() || fits(waiting.front()))) {
      count_out(waiting.front());
      bytes_taken += waiting.front().bytes;
      blocks_taken += waiting.front().blocks.size();
      message.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
    if (!waiting.empty()) break;  // full
    groups.erase(group);
    group = next_after(groups, shuffle->second.last_group);
  }
  if (groups.empty()) shuffles.erase(shuffle);
  if (shuffles.empty()) apps_.erase(app);
  return message;
}

std::vector<PushChunk> PushQueue::take_due(TimePoint now) {
  std::vector<PushChunk> all;
  while (has_due(now)) {
    for (PushChunk& chunk : take(UINT64_MAX, SIZE_MAX, now)) all.push_back(std::move(chunk));
  }
  return all;
}

uint64_t PushWindow::room(TimePoint now) const {
  if (now < paused_until_ || messages_ >= options_.most_messages) return 0;
  if (messages_ == 0) return std::max(window_, options_.least_bytes);
  if (open_) return 0;  // one probe at a time
  const uint64_t window = credit_ > 0 ? std::min(window_, credit_) : window_;
  return window > in_flight_ ? window - in_flight_ : 0;
}

void PushWindow::sent(uint64_t bytes) {
  in_flight_ += bytes;
  ++messages_;
}

void PushWindow::done(uint64_t bytes) {
  in_flight_ -= std::min(in_flight_, bytes);
  if (messages_ > 0) --messages_;
}

void PushWindow::withdrawn(uint64_t bytes) { done(bytes); }

void PushWindow::halve(TimePoint now) {
  // Once per round trip: what was sent before the last halving says nothing new.
  if (now - halved_ < last_took_) return;
  halved_ = now;
  window_ = std::max(options_.least_bytes, window_ / 2);
}

void PushWindow::answered(uint64_t bytes, Duration took, uint64_t credit_bytes, TimePoint now) {
  done(bytes);
  failures_ = 0;
  open_ = false;
  reason_.clear();
  last_took_ = took;
  credit_ = credit_bytes;
  if (took <= options_.slow) {
    window_ = std::min(options_.most_bytes, window_ + options_.step_bytes);
    return;
  }
  const bool least = window_ <= options_.least_bytes;
  halve(now);
  // As slow as that with hardly anything under way: it gets a rest.
  if (least) {
    paused_until_ = now + std::min(took, options_.longest_pause);
    reason_ = "it is slow";
  }
}

void PushWindow::busy(uint64_t bytes, Duration come_again, TimePoint now) {
  done(bytes);
  failures_ = 0;
  open_ = false;
  halve(now);
  paused_until_ = std::max(paused_until_, now + std::min(come_again, options_.longest_pause));
  reason_ = "it is busy";
}

bool PushWindow::failed(uint64_t bytes, std::string reason, TimePoint now, uint64_t random) {
  done(bytes);
  halve(now);
  ++failures_;
  if (failures_ < options_.failures_to_open && !open_) return false;
  open_ = true;
  reason_ = std::move(reason);
  const uint32_t doublings =
      std::min(failures_ - std::min(failures_, options_.failures_to_open), 20U);
  const Duration full =
      std::min<Duration>(options_.first_pause * (1LL << doublings), options_.longest_pause);
  const Duration pause =
      full / 2 +
      Duration(static_cast<Duration::rep>(random % static_cast<uint64_t>(full.count() / 2 + 1)));
  paused_until_ = std::max(paused_until_, now + pause);
  return true;
}

}  // namespace shufflefs::merge
