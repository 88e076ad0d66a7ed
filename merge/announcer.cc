#include "merge/announcer.h"

#include <algorithm>
#include <set>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kBatch = 200;  // map outputs in one message
constexpr auto kMembersInterval = std::chrono::seconds(1);

}  // namespace

std::vector<PartitionBits> candidate_bits(const Placement& placement, const NodeName& node,
                                          const std::vector<uint64_t>& block_lengths) {
  std::vector<PartitionBits> ranges;
  const auto count = static_cast<uint32_t>(block_lengths.size());
  for (uint32_t first = 0; first < count; first += placement.bucket_width()) {
    if (!placement.is_candidate(node, static_cast<PartitionId>(first))) continue;
    PartitionBits bits{first, std::min(placement.bucket_width(), count - first), {}};
    bits.non_empty.resize((bits.count + 7) / 8, 0);
    for (uint32_t i = 0; i < bits.count; ++i) {
      if (block_lengths[first + i] > 0)
        bits.non_empty[i / 8] = static_cast<uint8_t>(bits.non_empty[i / 8] | (1U << (i % 8U)));
    }
    ranges.push_back(std::move(bits));
  }
  return ranges;
}

std::vector<NodeName> new_candidates(const ShuffleKey& shuffle, uint32_t partition_count,
                                     const std::vector<NodeName>& before,
                                     const std::vector<NodeName>& now) {
  const Placement earlier(shuffle, before, partition_count);
  const Placement later(shuffle, now, partition_count);
  std::set<NodeName> found;
  for (uint32_t p = 0; p < partition_count; ++p) {
    const auto partition = static_cast<PartitionId>(p);
    for (const auto& node : {std::optional(later.owner(partition)), later.second(partition)}) {
      if (node && !earlier.is_candidate(*node, partition)) found.insert(*node);
    }
  }
  return {found.begin(), found.end()};
}

Announcer::Announcer(Runtime& runtime, FileIo& io, Cluster& cluster, LocalMaps& maps,
                     PlacementCache& placements)
    : runtime_(runtime),
      io_(io),
      cluster_(cluster),
      maps_(maps),
      placements_(placements),
      members_(cluster.names()),
      gate_(runtime, "announcer") {
  gate_.spawn(watch_members());
}

Announcer::Peer& Announcer::peer(const NodeName& node) {
  std::shared_ptr<Peer>& place = peers_[node];
  if (!place) {
    place = std::make_shared<Peer>();
    place->news = runtime_.make_timer();
    gate_.spawn(run(node, place));
  }
  return *place;
}

std::size_t Announcer::pending() const {
  std::size_t count = 0;
  for (const auto& [node, peer] : peers_) count += peer->queue.size() + peer->being_told;
  return count;
}

void Announcer::tell(const NodeName& node, News news) {
  Peer& to = peer(node);
  to.queue.push_back(std::move(news));
  to.news->wake();
}

void Announcer::tell_members(const News& news) {
  for (const NodeName& node : cluster_.names()) {
    if (node != cluster_.self()) tell(node, news);
  }
}

void Announcer::committed(const ShuffleKey& shuffle, MapId map) {
  tell_members({shuffle, map, false});
}

void Announcer::removed(const ShuffleKey& shuffle, MapId map, uint64_t commit) {
  tell_members({shuffle, map, true, commit});
}

void Announcer::tell_all(const NodeName& node) {
  if (node == cluster_.self()) return;
  Peer& to = peer(node);
  to.queue.clear();
  for (const ShuffleKey& shuffle : maps_.shuffles()) {
    for (const MapOutput& output : maps_.of(shuffle))
      to.queue.push_back({shuffle, output.map, false});
  }
  to.news->wake();
}

// Who has joined is told everything as well (tell_all), but by the member list of that moment,
// which may have been one between these two.
Task<void> Announcer::tell_new_candidates(std::vector<NodeName> before, std::vector<NodeName> now) {
  for (const ShuffleKey& shuffle : maps_.shuffles()) {
    std::map<uint32_t, std::vector<MapId>> by_count;
    for (const MapOutput& output : maps_.of(shuffle)) {
      if (output.partition_count > 0) by_count[output.partition_count].push_back(output.map);
    }
    for (const auto& [count, maps] : by_count) {
      // Two placements of a large cluster are milliseconds each.
      const std::vector<NodeName> nodes =
          co_await offload(runtime_, [&] { return new_candidates(shuffle, count, before, now); });
      for (const NodeName& node : nodes) {
        if (node == cluster_.self()) continue;
        for (const MapId map : maps) tell(node, {shuffle, map, false});
      }
    }
  }
}

Task<void> Announcer::watch_members() {
  while (true) {
    co_await sleep_for(runtime_, kMembersInterval);
    std::vector<NodeName> now = cluster_.names();
    if (now == members_) continue;
    std::vector<NodeName> before = std::exchange(members_, now);
    co_await tell_new_candidates(std::move(before), std::move(now));
  }
}

Task<Announcer::Message> Announcer::make_message(NodeName node, std::vector<News> batch) {
  Message message;
  AnnounceRequest& request = message.request;
  request.origin = cluster_.self();
  for (const News& news : batch) {
    if (news.removed) {
      request.removed.push_back({news.shuffle, news.map, news.commit});
      continue;
    }
    const auto output = maps_.find(news.shuffle, news.map);
    if (!output || output->partition_count == 0)
      continue;  // gone meanwhile, or without any partition
    const auto lengths =
        co_await offload(runtime_, [this, &output] { return block_lengths(io_, *output); });
    if (!lengths) {
      log_limited(LogLevel::kWarning, "announce.unreadable",
                  {{"shuffle", to_string(news.shuffle)},
                   {"map", number(news.map)},
                   {"file", output->data_path},
                   {"errno", lengths.error().sys_errno},
                   {"reason", lengths.error().message}});
      message.unreadable.push_back(news);
      continue;
    }
    const auto placement = placements_.get(news.shuffle, output->partition_count);
    request.committed.push_back({news.shuffle, news.map, output->epoch, output->partition_count,
                                 candidate_bits(*placement, node, *lengths), output->owner});
  }
  co_return message;
}

Task<void> Announcer::run(NodeName node, std::shared_ptr<Peer> peer) {
  constexpr auto kFirstBackoff = std::chrono::milliseconds(50);
  constexpr auto kLongestBackoff = std::chrono::seconds(2);
  constexpr auto kUnreadablePause = std::chrono::seconds(2);
  Duration backoff = kFirstBackoff;
  while (true) {
    if (peer->queue.empty()) {
      co_await peer->news->wait_for(std::chrono::hours(1));
      continue;
    }
    std::vector<News> batch(
        peer->queue.begin(),
        peer->queue.begin() + static_cast<std::ptrdiff_t>(std::min(kBatch, peer->queue.size())));
    peer->queue.erase(peer->queue.begin(),
                      peer->queue.begin() + static_cast<std::ptrdiff_t>(batch.size()));
    const std::shared_ptr<NodeApi> api = cluster_.node(node);
    if (!api) {  // it has left the cluster
      peer->queue.clear();
      continue;
    }
    peer->being_told = batch.size();
    Message message = co_await make_message(node, batch);
    const Status told = co_await api->announce(std::move(message.request));
    peer->being_told = 0;
    if (told) {
      backoff = kFirstBackoff;
      if (message.unreadable.empty()) continue;
      peer->queue.insert(peer->queue.end(), message.unreadable.begin(), message.unreadable.end());
      co_await sleep_for(runtime_, kUnreadablePause);
      continue;
    }
    log_debug("announce.retry", {{"node", node.str()}, {"reason", told.error().message}});
    peer->queue.insert(peer->queue.begin(), batch.begin(), batch.end());
    co_await sleep_for(runtime_, backoff);
    backoff = std::min<Duration>(backoff * 2, kLongestBackoff);
  }
}

}  // namespace shufflefs::merge
