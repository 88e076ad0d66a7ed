// The readers of a simulation, each as it is in production, and who looks at what they get
// (promise.cc).
#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/crc32c.h"
#include "merge/partition_index.h"
#include "sim/world.h"

namespace shufflefs::sim {
namespace {

using PartitionStreamPtr = std::shared_ptr<merge::PartitionStream>;

constexpr uint32_t kPiece = 20'000;

bool has_only_drains(const Scenario& s) {
  return s.drains > 0 &&
         s.crashes + s.stops + s.removals + s.rewrites + s.drops + s.cuts + s.slow_nodes +
                 s.sick_disks + s.full_disks + s.flipped_bits + s.joins + s.leaves + s.bursts +
                 s.squeezes + s.harms + s.new_disks + s.twins + s.clock_jumps + s.hangs +
                 s.reuses ==
             0 &&
         !s.lossy_network && !s.old_views;
}

std::string_view text_of(const Buffer& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// All that is planned.
Task<Result<std::string>> read_all(SimNode& node, merge::PartitionPlan plan) {
  const auto stream = node.engine().open_stream(std::move(plan));
  std::string bytes;
  Status done = ok();
  while (done) {
    const auto piece = co_await stream->read(bytes.size(), kPiece);
    if (!piece) done = piece.error();
    if (!piece || piece->size() == 0) break;
    bytes.append(text_of(*piece));
  }
  co_await stream->close();
  CO_TRY(done);
  co_return bytes;
}

Task<Result<std::string>> read_range(PartitionStreamPtr stream, uint64_t offset, uint64_t length) {
  std::string bytes;
  while (bytes.size() < length) {
    CO_TRY_ASSIGN(
        const Buffer piece,
        co_await stream->read(offset + bytes.size(), static_cast<uint32_t>(length - bytes.size())));
    if (piece.size() == 0) break;
    bytes.append(text_of(piece));
  }
  co_return bytes;
}

// Which commit of the map output counts only its origin knows.
Task<Result<Buffer>> read_at_origin(std::shared_ptr<merge::NodeApi> origin,
                                    merge::ShuffleKey shuffle, merge::MapId map,
                                    merge::PartitionId partition, uint32_t length) {
  CO_TRY_ASSIGN(const merge::PartitionInfo info,
                co_await origin->partition_info(shuffle, partition));
  const auto own = std::ranges::find(info.own, map, &merge::OwnBlock::map);
  if (own == info.own.end() || own->lost)
    co_return make_error(Code::kBlockLost, "its origin does not have it (any more)");
  co_return co_await origin->read_block(shuffle, map, own->commit, partition, 0, length);
}

}  // namespace

// Says that somebody reads, also if the coroutine is destroyed.
class Counted {
 public:
  explicit Counted(std::size_t& counter) : count_(counter) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& count_;
};

void World::read_something() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  const merge::ShuffleKey shuffle = any_shuffle();
  const auto partition = static_cast<merge::PartitionId>(random_.below(scenario_.partitions));
  switch (random_.below(6)) {
    case 0: return node->spawn(read_merged(*this, *node, shuffle, partition, false));
    case 1: return node->spawn(read_block(*this, *node, shuffle, partition, false));
    case 2: return node->spawn(read_as_spark(*this, *node, shuffle, partition, false));
    default:
      return node->spawn(
          read_partition(*this, *node, shuffle, partition, random_.chance(0.3), false));
  }
}

Task<void> World::read_partition(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                 merge::PartitionId partition, bool holds, bool at_rest) {
  const Counted counted(world.reads_open_);
  Reading reading = world.begin_reading(node, "partitions", shuffle, partition, at_rest);
  merge::Catalog& catalog = node.engine().catalog();
  const bool patient = at_rest || world.random_.chance(0.5);  // as the mount is
  const merge::PartitionPlan plan = patient ? co_await catalog.plan_for_reading(shuffle, partition)
                                            : co_await catalog.plan(shuffle, partition);
  reading.unreachable = plan.unreachable;
  // A file may be open for long before it is read: who was in its plan may have gone.
  if (holds)
    co_await sleep_for(node.runtime(), std::chrono::milliseconds(world.random_.below(30'000)));
  const auto bytes = co_await read_all(node, plan);
  if (!bytes) {
    world.failed(reading, bytes.error().message);
    world.check_failed_read(plan, bytes.error());
    co_return;
  }
  world.note(fmt::format("{} has read {}/{}: {} blocks", node.name().str(), to_string(shuffle),
                         number(partition), plan.blocks.size()));
  if (plan.incomplete)
    world.violate("an incomplete partition was read to its end without an error");
  if (bytes->size() != plan.bytes)
    world.violate(
        fmt::format("{} has read {} of {} bytes", node.name().str(), bytes->size(), plan.bytes));
  std::vector<ReadBlock> blocks;
  for (const merge::PlannedBlock& block : plan.blocks) {
    if (block.offset + block.length > bytes->size()) co_return;
    blocks.push_back({block.map, std::string_view(*bytes).substr(block.offset, block.length),
                      block.merged ? std::optional(block.merged->holder) : std::nullopt});
  }
  world.check_read(reading, blocks, true);
}

// Nodes that were drained before they left are missed by no reader.
void World::check_failed_read(const merge::PartitionPlan& plan, const Error& error) {
  const bool may_fail = plan.incomplete || error.code == Code::kNoMemory ||
                        !has_only_drains(scenario_) ||
                        std::ranges::any_of(plan.blocks, [](const auto& block) {
                          return block.length > kMaxBlockBytes;  // these stay at home
                        });
  if (!may_fail)
    violate(fmt::format("a reader of {}/{} has failed over a node that was drained: {}",
                        to_string(plan.shuffle), number(plan.partition), error.message));
}

// What is merged, and nothing more: nothing is missing from it.
Task<void> World::read_merged(World& world, SimNode& node, merge::ShuffleKey shuffle,
                              merge::PartitionId partition, bool at_rest) {
  const Counted counted(world.reads_open_);
  const Reading reading = world.begin_reading(node, ".merged", shuffle, partition, at_rest);
  const merge::PartitionPlan plan =
      co_await node.engine().catalog().merged_plan(shuffle, partition);
  const auto index = merge::parse_index(merge::render_index_view(plan), shuffle.shuffle, partition,
                                        plan.life, "the index view");
  const auto bytes = co_await read_all(node, plan);
  if (!bytes) co_return world.failed(reading, bytes.error().message);
  if (!index || index->records.size() != plan.blocks.size())
    co_return world.violate("the index view is not that of the merged view");
  std::vector<ReadBlock> blocks;
  uint64_t end = 0;
  for (std::size_t i = 0; i < index->records.size(); ++i) {
    const merge::IndexRecord& record = index->records[i];
    if (record.offset != end || record.offset + record.length > bytes->size())
      co_return world.violate("the blocks of an index view do not follow one another");
    end += record.length;
    const std::string_view part = std::string_view(*bytes).substr(record.offset, record.length);
    if (crc32c(std::as_bytes(std::span(part))) != record.crc)
      world.violate(fmt::format("{}/{}.index has a wrong checksum of map {}", to_string(shuffle),
                                number(partition), number(record.map)));
    const auto& merged = plan.blocks[i].merged;
    blocks.push_back({record.map, part, merged ? std::optional(merged->holder) : std::nullopt});
  }
  world.check_read(reading, blocks, false);
}

Task<void> World::read_block(World& world, SimNode& node, merge::ShuffleKey shuffle,
                             merge::PartitionId partition, bool at_rest) {
  const Counted counted(world.reads_open_);
  const Reading reading = world.begin_reading(node, "a block", shuffle, partition, at_rest);
  // Also of what is not there any more.
  std::vector<const WrittenMap*> some;
  for (const WrittenMap* written : world.truth_.of(shuffle)) {
    if (written->committed_at && written->length(partition) > 0) some.push_back(written);
  }
  if (some.empty()) co_return;
  const WrittenMap& written = *some[world.random_.below(some.size())];
  const auto api = node.cluster().node(world.nodes_[written.origin]->name());
  if (!api) co_return;
  const auto length = static_cast<uint32_t>(written.length(partition));
  const auto bytes = co_await read_at_origin(api, shuffle, written.map, partition, length);
  // Who is asked for an attempt that has been ended by another one does not have it.
  const bool is_one_of_several = world.truth_.find(shuffle, written.map).size() > 1;
  if (!bytes)
    co_return world.failed(reading, bytes.error().message,
                           !written.is_sound() || is_one_of_several);
  // The map id is all that is asked for: of another commit under it this would be the beginning.
  if (is_one_of_several && !Truth::is_block(written, partition, text_of(*bytes))) co_return;
  world.check_read(reading, {{written.map, text_of(*bytes), world.nodes_[written.origin]->name()}},
                   false);
}

Task<void> World::read_as_spark(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                merge::PartitionId partition, bool at_rest) {
  const Counted counted(world.reads_open_);
  const Reading reading = world.begin_reading(node, "as Spark", shuffle, partition, at_rest);
  const merge::PartitionPlan plan =
      co_await node.engine().catalog().merged_plan(shuffle, partition);
  const auto index = merge::parse_index(merge::render_index_view(plan), shuffle.shuffle, partition,
                                        plan.life, "the index view");
  std::map<merge::MapId, merge::IndexRecord> merged;
  if (index) {
    for (const merge::IndexRecord& record : index->records) merged.try_emplace(record.map, record);
  }
  const PartitionStreamPtr stream = node.engine().open_stream(plan);
  std::deque<std::string> pieces;
  std::vector<ReadBlock> blocks;
  for (const uint64_t writing : reading.there) {
    const WrittenMap& wanted = world.truth_.all().at(writing);
    const uint64_t length = wanted.length(partition);
    // Spark numbers its attempts: it has no two under one id.
    const bool has_rivals = std::ranges::any_of(
        world.truth_.find(shuffle, wanted.map),
        [&](const WrittenMap* other) { return other != &wanted && !other->removed_at; });
    if (length == 0 || has_rivals) continue;
    std::optional<std::string> block;
    std::string why;
    const auto record = merged.find(wanted.map);
    if (record != merged.end()) {
      const auto bytes = co_await read_range(stream, record->second.offset, record->second.length);
      if (bytes && crc32c(std::as_bytes(std::span(*bytes))) == record->second.crc) block = *bytes;
    }
    const auto origin = node.cluster().node(world.nodes_[wanted.origin]->name());
    if (!block && !origin) continue;  // Spark has its address from elsewhere
    if (!block) {
      const auto bytes = co_await read_at_origin(origin, shuffle, wanted.map, partition,
                                                 static_cast<uint32_t>(length));
      if (bytes)
        block = std::string(text_of(*bytes));
      else
        why = bytes.error().message;
      // Nothing tells Spark's own fetch that the file has other bytes now.
      if (bytes && wanted.is_silent_harm) continue;
    }
    if (!wanted.is_live()) continue;
    if (!block) {  // a fetch failure: the stage is run again
      world.failed(reading, fmt::format("map {} cannot be fetched: {}", number(wanted.map), why),
                   !world.can_be_fetched(wanted, partition));
      continue;
    }
    pieces.push_back(*std::move(block));
    blocks.push_back({wanted.map, pieces.back(), {}});
    if (!Truth::is_block(wanted, partition, pieces.back()) && !wanted.is_silent_harm)
      world.violate(fmt::format("{} has read {}/{} as Spark: map {} is not what was written",
                                node.name().str(), to_string(shuffle), number(partition),
                                number(wanted.map)));
  }
  co_await stream->close();
  world.check_read(reading, blocks, false);
}

void World::spawn_readers(SimNode& node, const merge::ShuffleKey& shuffle,
                          merge::PartitionId partition) {
  node.spawn(read_partition(*this, node, shuffle, partition, false, true));
  node.spawn(read_merged(*this, node, shuffle, partition, true));
  node.spawn(read_block(*this, node, shuffle, partition, true));
  node.spawn(read_as_spark(*this, node, shuffle, partition, true));
}

}  // namespace shufflefs::sim
