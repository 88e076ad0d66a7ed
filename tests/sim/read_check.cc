// What a reader may see: every block of every committed map output, right, or an error; never a
// partition that is short without saying so.
#include <fmt/format.h>

#include <algorithm>

#include "sim/world.h"

namespace shufflefs::sim {

namespace {

bool has_only_drains(const Scenario& s) {
  return s.drains > 0 &&
         s.crashes + s.stops + s.removals + s.rewrites + s.drops + s.cuts + s.slow_nodes +
                 s.sick_disks + s.full_disks + s.flipped_bits + s.joins + s.leaves + s.bursts +
                 s.squeezes ==
             0 &&
         !s.lossy_network;
}

}  // namespace

// What was certain when the reading began.
struct World::Expectation {
  struct Block {
    uint64_t writing = 0;
    std::set<Witness> told;  // who knew of it
  };
  std::vector<Block> blocks;
  std::vector<merge::NodeName> members;  // as the reader knew them
};

World::Expectation World::expect(SimNode& node, const merge::ShuffleKey& shuffle,
                                 merge::PartitionId partition) {
  Expectation expectation;
  expectation.members = node.cluster().names();
  for (WrittenMap* written : truth_.of(shuffle)) {
    if (!written->is_live() || written->length(partition) == 0) continue;
    SimNode& origin = *nodes_[written->origin];
    if (origin.works() && origin.engine().commits().is_committed(shuffle, written->map))
      written->listed = true;
    if (written->listed)
      expectation.blocks.push_back({written->writing, written->witnesses(partition)});
  }
  return expectation;
}

void World::read_something() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  const auto partition = static_cast<merge::PartitionId>(random_.below(scenario_.partitions));
  node->spawn(read_partition(*this, *node, any_shuffle(), partition, false));
}

Task<void> World::read_partition(World& world, SimNode& node, merge::ShuffleKey shuffle,
                                 merge::PartitionId partition, bool at_rest) {
  struct Counted {
    explicit Counted(std::size_t& counter) : count(counter) { ++count; }
    ~Counted() { --count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    std::size_t& count;
  };
  const Counted counted(world.reads_open_);
  const Expectation expected = world.expect(node, shuffle, partition);
  merge::Catalog& catalog = node.engine().catalog();
  const bool patient = world.random_.chance(0.5);  // as the mount is; without it more is incomplete
  const merge::PartitionPlan plan = patient ? co_await catalog.plan_for_reading(shuffle, partition)
                                            : co_await catalog.plan(shuffle, partition);
  world.check_plan(expected, node, plan, at_rest);
  // A file may be open for long before it is read: who was in its plan may have gone.
  if (!at_rest && world.random_.chance(0.3))
    co_await sleep_for(node.runtime(), std::chrono::milliseconds(world.random_.below(30'000)));
  const auto stream = node.engine().open_stream(plan);
  std::string bytes;
  std::optional<Error> error;
  while (!error) {
    const auto piece = co_await stream->read(bytes.size(), 20'000);
    if (!piece) error = piece.error();
    if (!piece || piece->size() == 0) break;
    bytes.append(reinterpret_cast<const char*>(piece->data()), piece->size());
  }
  co_await stream->close();
  world.note(fmt::format("{} has read {}/{}: {} blocks, {}", node.name().str(), to_string(shuffle),
                         number(partition), plan.blocks.size(), error ? error->message : "right"));
  if (error) {
    ++world.outcome_.reads_failed;
    if (at_rest && !plan.incomplete)
      world.violate(fmt::format("{}/{} cannot be read though nothing is wrong: {}",
                                to_string(shuffle), number(partition), error->message));
    world.check_failed_read(plan, *error);
    co_return;
  }
  if (plan.incomplete)
    world.violate("an incomplete partition was read to its end without an error");
  ++world.outcome_.reads_right;
  world.check_bytes(node, plan, bytes, at_rest);
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

// Known gap: a restarted holder has forgotten that a map output was removed.
bool World::removals_are_known() const {
  return scenario_.gaps ||
         (outcome_.crashes == 0 && scenario_.stops == 0 && !scenario_.restart_at_end);
}

void World::check_plan(const Expectation& before, SimNode& node, const merge::PartitionPlan& plan,
                       bool at_rest) {
  std::set<merge::MapId> planned;
  for (const merge::PlannedBlock& block : plan.blocks) {
    if (!planned.insert(block.map).second)
      violate(fmt::format("map {} is twice in the plan of {}/{}", number(block.map),
                          to_string(plan.shuffle), number(plan.partition)));
  }
  // Who has joined since the reading began, or left, was not asked.
  const std::vector<merge::NodeName> now = node.cluster().names();
  const auto answered = [&](std::size_t index) {
    const std::string& name = nodes_[index]->name().str();
    return std::ranges::binary_search(before.members, nodes_[index]->name()) &&
           std::ranges::binary_search(now, nodes_[index]->name()) &&
           std::ranges::none_of(plan.unreachable, [&](const std::string& line) {
             return line.starts_with(name + ":");
           });
  };
  for (const Expectation::Block& block : before.blocks) {
    const WrittenMap& written = truth_.all().at(block.writing);
    if (planned.contains(written.map) || plan.incomplete || !written.is_live()) continue;
    const bool witness = std::ranges::any_of(block.told, [&](const auto& who) {
      return answered(who.first) && nodes_[who.first]->incarnation() == who.second;
    });
    if (answered(written.origin) || witness) {
      violate(fmt::format("{} is short of map {} of {}/{}, which {} knows of", node.name().str(),
                          number(written.map), to_string(plan.shuffle), number(plan.partition),
                          witness ? "a node that answered" : "its living origin"));
    } else if (!block.told.empty()) {
      ++outcome_.reads_forgetful;
      note(fmt::format("{} is short of map {} of {}/{}: all who were told have forgotten",
                       node.name().str(), number(written.map), to_string(plan.shuffle),
                       number(plan.partition)));
    }
  }
  if (!at_rest || !removals_are_known()) return;
  for (const merge::MapId map : planned) {
    const bool may_be = std::ranges::any_of(
        truth_.find(plan.shuffle, map), [](WrittenMap* w) { return w->is_live() || w->uncertain; });
    if (!may_be)
      violate(fmt::format("{}/{} has the block of map {}, which was removed",
                          to_string(plan.shuffle), number(plan.partition), number(map)));
  }
}

void World::check_bytes(SimNode& node, const merge::PartitionPlan& plan, std::string_view bytes,
                        bool at_rest) {
  if (bytes.size() != plan.bytes)
    violate(fmt::format("{} has read {} of {} bytes", node.name().str(), bytes.size(), plan.bytes));
  for (const merge::PlannedBlock& block : plan.blocks) {
    if (block.offset + block.length > bytes.size()) return;
    const std::string_view part = bytes.substr(block.offset, block.length);
    const bool right =
        std::ranges::any_of(truth_.find(plan.shuffle, block.map), [&](const WrittenMap* written) {
          const bool counts =
              !at_rest || !removals_are_known() || written->is_live() || written->uncertain;
          return counts && Truth::is_block(*written, plan.partition, part);
        });
    if (!right)
      violate(fmt::format("{} has read wrong bytes of map {} of {}/{}", node.name().str(),
                          number(block.map), to_string(plan.shuffle), number(plan.partition)));
  }
}

}  // namespace shufflefs::sim
