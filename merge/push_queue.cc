#include "merge/push_queue.h"

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

}  // namespace shufflefs::merge
