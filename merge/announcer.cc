#include "merge/announcer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kBatch = 200;  // events in one message
constexpr auto kMembersInterval = std::chrono::seconds(1);
constexpr std::chrono::hours kIdle{1};  // somebody else ends the wait

// The entry of the news' shuffle; events of one shuffle mostly come together.
EndedMaps& ended_of(AnnounceRequest& request, const ShuffleTable::News& news) {
  const auto it = std::ranges::find(request.ended, news.shuffle, &EndedMaps::shuffle);
  if (it != request.ended.end()) return *it;
  return request.ended.emplace_back(EndedMaps{news.shuffle, news.life, {}, {}});
}

}  // namespace

std::vector<PartitionBits> candidate_bits(const Placement& placement,
                                          const std::optional<NodeName>& node,
                                          const BlockSizes& sizes) {
  std::vector<PartitionBits> ranges;
  const uint32_t count = sizes.partition_count();
  std::size_t next = 0;
  for (uint32_t first = 0; first < count; first += placement.bucket_width()) {
    const uint32_t width = std::min(placement.bucket_width(), count - first);
    if (node && !placement.is_candidate(*node, static_cast<PartitionId>(first))) continue;
    PartitionBits bits{first, width, 0, {}};
    for (next = sizes.first_from(first);
         next < sizes.size() && number(sizes[next].partition) < uint64_t{first} + width; ++next) {
      const uint32_t at = number(sizes[next].partition) - first;
      if (bits.non_empty.empty()) bits.skipped_bytes = at / 8;
      const std::size_t byte = at / 8 - bits.skipped_bytes;
      if (byte >= bits.non_empty.size()) bits.non_empty.resize(byte + 1, 0);
      bits.non_empty[byte] = static_cast<uint8_t>(bits.non_empty[byte] | (1U << (at % 8U)));
    }
    ranges.push_back(std::move(bits));
  }
  return ranges;
}

Announcer::Announcer(Runtime& runtime, FileIo& io, Metrics& metrics, Cluster& cluster,
                     ShuffleTable& table, PlacementCache& placements)
    : runtime_(runtime),
      cluster_(cluster),
      table_(table),
      placements_(placements),
      sizes_(runtime, io, metrics, table),
      gate_(runtime, "announcer") {
  add_members();
  placed_ = members_;
  gate_.spawn(watch_members());
}

void Announcer::add_members() {
  members_ = cluster_.names();
  for (const NodeName& node : members_) {
    if (node == cluster_.self() || peers_.contains(node)) continue;
    const auto peer = std::make_shared<Peer>();
    peer->news = runtime_.make_timer();
    peers_.emplace(node, peer);
    gate_.spawn(run(node, peer));
  }
}

std::size_t Announcer::pending() const {
  std::size_t count = 0;
  for (const auto& [node, peer] : peers_) {
    if (std::ranges::binary_search(members_, node)) count += table_.count_news_after(peer->told);
  }
  return count;
}

void Announcer::wake() {
  if (peers_.empty()) table_.told(table_.last_news());
  for (const auto& [node, peer] : peers_) peer->news->wake();
}

void Announcer::tell_all(const NodeName& node) {
  if (node == cluster_.self()) return;
  add_members();
  const auto it = peers_.find(node);
  if (it == peers_.end()) return;
  it->second->told = 0;
  it->second->again = true;
  it->second->is_whole = false;
  it->second->news->wake();
}

Task<void> Announcer::tell_now(Duration timeout) {
  const TimePoint end = runtime_.now() + timeout;
  const uint64_t news = table_.last_news();
  wake();
  const std::unique_ptr<Timer> progress = runtime_.make_timer();
  while (told_to_all() < news && runtime_.now() < end) {
    waiting_.push_back(progress.get());
    co_await progress->wait_for(end - runtime_.now());
    std::erase(waiting_, progress.get());
  }
}

void Announcer::set_leaving(bool leaving) {
  if (std::exchange(is_leaving_, leaving) == leaving || !leaving) return;
  const std::vector<NodeName> members = cluster_.names();
  for (const NodeName& node : members) tell_all(node);
}

bool Announcer::is_all_told() const {
  return std::ranges::all_of(peers_, [this](const auto& entry) {
    const auto& [node, peer] = entry;
    if (!std::ranges::binary_search(members_, node) || !cluster_.is_up(node)) return true;
    return !peer->again && table_.count_news_after(peer->told) == 0;
  });
}

uint64_t Announcer::told_to_all() const {
  uint64_t least = UINT64_MAX;
  for (const auto& [node, peer] : peers_) {
    if (std::ranges::binary_search(members_, node) && cluster_.is_up(node))
      least = std::min(least, peer->told);
  }
  return least;
}

Task<void> Announcer::watch_members() {
  while (true) {
    co_await sleep_for(runtime_, kMembersInterval);
    const std::vector<NodeName> now = cluster_.names();
    if (now == placed_) continue;
    placed_ = now;
    for (const NodeName& node : now) tell_all(node);
  }
}

Task<Announcer::Message> Announcer::make_message(NodeName node,
                                                 std::vector<ShuffleTable::News> batch) {
  Message message;
  AnnounceRequest& request = message.request;
  request.origin = cluster_.self();
  for (const ShuffleTable::News& news : batch) {
    message.last = news.number;
    switch (news.kind) {
      case ShuffleTable::News::Kind::kEnded:
        ended_of(request, news).maps.push_back(news.ended);
        continue;
      case ShuffleTable::News::Kind::kAllEnded:
        ended_of(request, news).ranges = {news.all_ended};
        continue;
      case ShuffleTable::News::Kind::kDropped:
        request.dropped.push_back(
            {news.shuffle.app, news.whole_app ? std::nullopt : std::optional(news.shuffle.shuffle),
             news.life});
        continue;
      case ShuffleTable::News::Kind::kCommitted: break;
    }
    const MapOutput& output = *news.output;
    AnnouncedMap announced{output.shuffle,         output.map, output.commit, output.life,
                           output.partition_count, {},         output.owner};
    if (output.partition_count > 0) {
      const auto sizes = co_await sizes_.of(news.output);
      if (sizes) {
        const auto placement = placements_.get(output.shuffle, output.partition_count);
        announced.ranges =
            candidate_bits(*placement, is_leaving_ ? std::nullopt : std::optional(node), **sizes);
      } else if (table_.is_current(output)) {
        log_limited(LogLevel::kWarning, "announce.unreadable",
                    {{"shuffle", to_string(output.shuffle)},
                     {"map", number(output.map)},
                     {"file", output.index_path},
                     {"errno", sizes.error().sys_errno},
                     {"reason", sizes.error().message}});
        // It is told of without its bits; again if it is found.
        table_.lost(output, sizes.error().message);
      }
    }
    request.committed.push_back(std::move(announced));
  }
  co_return message;
}

Task<void> Announcer::run(NodeName node, std::shared_ptr<Peer> peer) {
  constexpr auto kFirstBackoff = std::chrono::milliseconds(50);
  constexpr auto kMaxBackoff = std::chrono::seconds(2);
  Duration backoff = kFirstBackoff;
  while (true) {
    peer->again = false;
    auto batch = table_.news_after(peer->told, kBatch);
    const std::shared_ptr<NodeApi> api = cluster_.node(node);
    const bool has_news = !batch.empty() || !peer->is_whole;
    if (!has_news || !api) {  // nothing to tell, or it is no member now
      co_await peer->news->wait_for(kIdle);
      continue;
    }
    // What another node is told of must not be forgotten here.
    const Status kept = co_await offload(runtime_, [this] { return table_.flush(); });
    if (!kept) {
      co_await peer->news->wait_for(kMaxBackoff);
      continue;
    }
    Message message = co_await make_message(node, std::move(batch));
    message.last = std::max(message.last, peer->told);
    const bool is_whole = table_.count_news_after(message.last) == 0;
    message.request.whole = is_whole;
    const Status told = co_await api->announce(std::move(message.request));
    if (told) {
      backoff = kFirstBackoff;
      if (!peer->again) {
        peer->told = message.last;
        peer->is_whole = peer->is_whole || is_whole;
      }
      table_.told(told_to_all());
      for (Timer* const waiting : waiting_) waiting->wake();
      continue;
    }
    log_debug("announce.retry", {{"node", node.str()}, {"reason", told.error().message}});
    co_await peer->news->wait_for(backoff);
    backoff = std::min<Duration>(backoff * 2, kMaxBackoff);
  }
}

}  // namespace shufflefs::merge
