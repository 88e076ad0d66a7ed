#include "sim/scenario.h"

#include <fmt/format.h>

#include "sim/schedule.h"

namespace shufflefs::sim {
namespace {

// Most clusters are small: that is where everything meets everything. Few are large.
std::size_t draw_nodes(Random& random) {
  const uint64_t kind = random.below(100);
  if (kind < 80) return random.between(1, 6);
  if (kind < 99) return random.between(7, 16);
  return random.between(40, 120);
}

// What a reader may be deceived by.
void draw_deceptions(Scenario& scenario, Random& random, const std::string& only) {
  const auto some = [&](const char* kind, uint64_t most, double chance) -> uint64_t {
    const bool drawn = random.chance(chance);
    const uint64_t count = random.between(1, most);
    if (!only.empty()) return only == kind ? count : 0;
    return drawn ? count : 0;
  };
  const bool several = scenario.nodes > 1;
  scenario.harms = some("lost", 4, 0.15);
  scenario.new_disks = several ? some("lost", 2, 0.1) : 0;
  scenario.twins = several ? some("twins", 4, 0.15) : 0;
  scenario.rewrites = some("twins", 2, 0.15);
  scenario.clock_jumps = some("clocks", 4, 0.15);
  scenario.hangs = some("hangs", 3, 0.15);
  scenario.reuses = some("reuse", 4, 0.15);
  scenario.old_views = scenario.nodes > 2 && some("views", 1, 0.15) > 0;
  scenario.cut_chance =
      some("races", 1, 0.6) > 0 ? 0.01 * static_cast<double>(random.between(1, 40)) : 0;
  if (only.empty()) return;
  // Each with the ordinary events that it shows in.
  const auto also = [&](uint64_t most) { return random.below(most + 1); };
  if (only == "lost" || only == "clocks") scenario.stops = also(2);
  if (only == "lost" || only == "clocks" || only == "hangs") scenario.crashes = also(2);
  if (only == "views" || only == "clocks" || only == "hangs") scenario.drops = also(1);
  if (only == "views") scenario.joins = also(1);
  if (only == "views" || only == "races" || only == "hangs") scenario.removals = also(3);
  if (only == "races") {
    scenario.reuses = also(1);
    scenario.rewrites = also(1);
  }
  if (only == "reuse") {
    scenario.crashes = also(2);
    scenario.stops = also(2);
    scenario.cuts = also(2);
  }
}

void draw_faults(Scenario& scenario, Random& random, const std::string& only) {
  const auto some = [&](const char* kind, uint64_t most, double chance) -> uint64_t {
    const bool drawn = random.chance(chance);
    const uint64_t count = random.between(1, most);
    if (!only.empty()) return only == kind ? count : 0;
    return drawn ? count : 0;
  };
  const uint64_t nodes = scenario.nodes;
  scenario.crashes = some("crashes", std::min<uint64_t>(nodes * 2, 12), 0.6);
  scenario.stops = some("crashes", 3, 0.3);
  scenario.removals = some("removals", 4, 0.3);
  scenario.drops = some("removals", 2, 0.2);
  scenario.cuts = some("network", 4, 0.4);
  scenario.slow_nodes = some("network", 2, 0.2);
  scenario.sick_disks = some("disks", 3, 0.25);
  scenario.full_disks = some("disks", 2, 0.2);
  scenario.flipped_bits = some("disks", 3, 0.15);
  scenario.joins = some("members", 2, 0.15);
  scenario.leaves = nodes > 2 ? some("members", 2, 0.15) : 0;
  scenario.drains = nodes > 2 ? some("members", 2, 0.2) : 0;
  if (nodes > 3 && some("members", 1, 0.08) > 0) {
    scenario.drains = 2;
    scenario.drains_at_once = true;
  }
  if (only == "drains" && nodes > 2) scenario.drains = 2;
  scenario.squeezes = nodes > 1 ? some("memory", 6, 0.4) : 0;
  scenario.lossy_network = some("network", 1, 0.4) > 0;
  scenario.power_losses = some("crashes", 1, 0.3) > 0;
  scenario.skewed_clocks = some("network", 1, 0.3) > 0;
  draw_deceptions(scenario, random, only);
}

}  // namespace

Scenario make_scenario(uint64_t seed, std::optional<std::size_t> nodes, const std::string& only) {
  Random random(seed);
  Scenario scenario;
  scenario.seed = seed;
  const std::size_t drawn = draw_nodes(random);
  scenario.nodes = nodes.value_or(drawn);
  const bool large = scenario.nodes > 16;
  scenario.disks = random.between(1, 3);
  scenario.shuffles = random.between(1, 3);
  scenario.partitions = static_cast<uint32_t>(random.between(1, large ? 64 : 24));
  scenario.maps = large ? random.between(10, 40) : random.between(1, 30);
  scenario.reads = large ? 5 : random.between(0, 12);
  scenario.block_bytes = random.chance(0.2) ? random.between(1, 40) : random.between(100, 6000);
  // Divided by purpose, an eighth for each at the least. One reader takes up to twice a partition
  // and its read-ahead, so that much is the least.
  scenario.memory = random.between(1024, 4096) << 13U;
  if (!large && random.chance(0.25)) {  // short of memory
    scenario.block_bytes = random.between(50, 600);
    scenario.maps = random.between(10, 40);
    scenario.memory = random.between(96, 192) << 13U;
  }
  if (!large && random.chance(0.12)) {  // and more comes than there is room for
    scenario.nodes = nodes.value_or(random.between(4, 7));
    scenario.shuffles = 1;
    scenario.partitions = static_cast<uint32_t>(random.between(80, 160));
    scenario.block_bytes = random.between(60, 120);
    scenario.maps = random.between(5, 15);
    scenario.memory = random.between(12, 24) << 12U;
    scenario.bursts = random.between(1, 3);
  }
  if (random.chance(0.5)) scenario.split_bytes = random.between(1, 16) << 10U;
  draw_faults(scenario, random, only);
  scenario.restart_at_end = random.chance(0.4);
  scenario.late_events = only.empty() ? random.chance(0.2) : only == "events";
  if (only == "events") {
    scenario.removals = random.below(4);
    scenario.crashes = random.below(3);
    scenario.stops = random.below(3);
    scenario.hangs = random.below(2);
  }
  return scenario;
}

std::string to_string(const Scenario& s) {
  return fmt::format(
      "{} nodes, {} disks each, {} shuffles of {} partitions, {} maps, blocks up to {} bytes, "
      "memory {} KiB, {}{} reads; crashes {}{}, stops {}, removals {}, rewrites {}, drops {}, cuts "
      "{}, slow {}, sick disks {}, full disks {}, flipped bits {}, joins {}, leaves {}, drains "
      "{}{}{}{}{}{}{}{}",
      s.nodes, s.disks, s.shuffles, s.partitions, s.maps, s.block_bytes, s.memory >> 10U,
      s.split_bytes < UINT64_MAX ? fmt::format("split at {} KiB, ", s.split_bytes >> 10U) : "",
      s.reads, s.crashes, s.power_losses ? " (with power losses)" : "", s.stops, s.removals,
      s.rewrites, s.drops, s.cuts, s.slow_nodes, s.sick_disks, s.full_disks, s.flipped_bits,
      s.joins, s.leaves, s.drains, s.drains_at_once ? " at once" : "",
      s.bursts > 0 ? fmt::format(", bursts {}", s.bursts) : "",
      s.lossy_network ? ", lossy network" : "", s.skewed_clocks ? ", skewed clocks" : "",
      fmt::format(", harmed files {}, new disks {}, twins {}, clock jumps {}, hangs {}, reuses {}, "
                  "disk work is cut at {:.0f} %{}",
                  s.harms, s.new_disks, s.twins, s.clock_jumps, s.hangs, s.reuses,
                  s.cut_chance * 100, s.old_views ? ", old views" : ""),
      s.late_events ? ", late events" : "", s.restart_at_end ? ", all restarted at the end" : "");
}

}  // namespace shufflefs::sim
