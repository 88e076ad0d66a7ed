// What happens in a simulation: the work of an application. What goes wrong meanwhile is in
// faults.cc.
#include <fmt/format.h>

#include <algorithm>

#include "merge/map_output.h"
#include "sim/world.h"

namespace shufflefs::sim {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Where an executor keeps its files: a directory below local/ that names its application.
std::string spark_directory(const std::string& data_dir, const merge::AppId& app) {
  return fmt::format("{}/local/blockmgr-{}", data_dir, app.str());
}

}  // namespace

void World::plan_activities() {
  const Scenario& s = scenario_;
  repeat(s.maps, &World::write_map);
  repeat(s.reads, &World::read_something);
  repeat(s.removals, &World::remove_map);
  repeat(s.rewrites, &World::rewrite_map);
  repeat(s.drops, &World::drop_shuffle);
  repeat(s.crashes, &World::crash_some_node);
  repeat(s.stops, &World::stop_some_node);
  repeat(s.cuts, &World::cut_something);
  repeat(s.slow_nodes, &World::slow_some_node);
  repeat(s.sick_disks, &World::sicken_disk);
  repeat(s.full_disks, &World::fill_disk);
  repeat(s.flipped_bits, &World::flip_bit);
  repeat(s.joins, &World::join_node);
  repeat(s.leaves, &World::leave_node);
  if (s.drains_at_once)
    repeat(1, &World::drain_two_nodes);
  else
    repeat(s.drains, &World::drain_some_node);
  repeat(s.bursts, &World::burst);
  repeat(s.squeezes, &World::squeeze_some_node);
  repeat(s.harms, &World::harm_some_output);
  repeat(s.new_disks, &World::replace_some_disk);
  repeat(s.twins, &World::write_twins);
  repeat(s.clock_jumps, &World::jump_some_clock);
  repeat(s.hangs, &World::hang_some_disk);
  repeat(s.reuses, &World::reuse_some_name);
}

void World::after(Duration delay, std::function<void()> what) {
  schedule_.after(delay, Action([this, what = std::move(what)] {
                    if (active_) what();
                  }));
}

void World::repeat(uint64_t times, void (World::*activity)()) {
  for (uint64_t i = 0; i < times; ++i)
    after(Duration(random_.below(static_cast<uint64_t>(scenario_.active.count()))),
          [this, activity] { (this->*activity)(); });
}

// ---- map outputs -----------------------------------------------------------------------------------

void World::write_map() {
  if (SimNode* node = any_working_node())
    write_output(*node, any_shuffle(), static_cast<merge::MapId>(next_map_++));
}

void World::burst() {
  const std::size_t slow = random_.below(nodes_.size());
  note("a burst, and the disks of " + nodes_[slow]->name().str() + " are slow");
  make_disks_slow(slow, random_.between(500, 5000));
  const merge::ShuffleKey shuffle = any_shuffle();
  for (const auto& node : nodes_) {
    if (!node->works() || !is_member_[node->index()] || node->index() == slow) continue;
    for (uint64_t i = random_.between(2, 6); i > 0; --i)
      write_output(*node, shuffle, static_cast<merge::MapId>(next_map_++));
  }
}

// A second attempt of a task on another node, which does not know of the first one: at the same
// time, or later.
void World::write_twins() {
  SimNode* first = any_working_node();
  SimNode* second = any_working_node();
  if (first == nullptr || first == second) return;
  merge::ShuffleKey shuffle = any_shuffle();
  auto map = static_cast<merge::MapId>(next_map_);
  const std::vector<WrittenMap*> earlier = live_outputs([&](const WrittenMap& written) {
    return !written.is_spark && written.origin != second->index();
  });
  if (!earlier.empty() && random_.chance(0.5)) {
    const WrittenMap& chosen = *earlier[random_.below(earlier.size())];
    // Twice on one node it would be refused: committed map outputs are immutable.
    for (const WrittenMap* other : truth_.find(chosen.shuffle, chosen.map)) {
      if (other->origin == second->index()) return;
    }
    shuffle = chosen.shuffle;
    map = chosen.map;
  } else {
    ++next_map_;
    write_output(*first, shuffle, map, false);
  }
  after(std::chrono::milliseconds(random_.chance(0.5) ? 0 : random_.below(5000)),
        [this, second, shuffle, map] {
          if (second->works()) write_output(*second, shuffle, map, false);
        });
}

void World::write_output(SimNode& node, const merge::ShuffleKey& shuffle, merge::MapId map,
                         bool may_be_spark) {
  WrittenMap written;
  written.shuffle = shuffle;
  written.map = map;
  written.origin = node.index();
  written.may_come_again = has_unsafe_log_.contains(node.index());
  // Spark does not use the number of a shuffle again.
  written.is_spark = random_.chance(0.4) && may_be_spark && !drops_.contains(shuffle);
  // Some outputs of a directory's form have fewer partitions than others.
  const uint32_t partitions = written.is_spark || random_.chance(0.9)
                                  ? scenario_.partitions
                                  : static_cast<uint32_t>(random_.between(1, scenario_.partitions));
  const bool skewed = scenario_.block_bytes > 600 && random_.chance(0.2);
  for (uint32_t p = 0; p < partitions; ++p) {
    uint64_t length = random_.chance(0.3) ? 0 : random_.between(1, scenario_.block_bytes);
    if (skewed && p == 0) length = random_.between(1, 20U << 10U);  // may be too large to push
    written.lengths.push_back(length);
  }
  if (written.lengths.back() == 0) written.lengths.back() = 1;
  WrittenMap& known = truth_.add(std::move(written));
  note(fmt::format("{} writes map {} of {}{}", node.name().str(), number(map), to_string(shuffle),
                   known.is_spark ? " (Spark)" : ""));
  // What a crash has left half-way may come to light after the restart, and is whole then.
  node.runtime().start_blocking([this, &node, &known] {
    const bool whole = put_files(node, known) && !node.disk().frozen();
    note(fmt::format("{} has written map {} of {}: {}", node.name().str(), number(known.map),
                     to_string(known.shuffle), whole ? "committed" : "failed"));
    if (!whole) return;
    known.committed_at = schedule_.steps();
    const auto drops = drops_.find(known.shuffle);
    known.life = drops != drops_.end() ? drops->second.answered : 0;
    known.uncertain = known.uncertain_for_good || is_murky(known.shuffle, node.index());
  });
}

bool World::put_files(SimNode& node, WrittenMap& written) {
  std::string data;
  for (uint32_t p = 0; p < written.lengths.size(); ++p)
    data += Truth::block(written, static_cast<merge::PartitionId>(p));
  const std::vector<std::byte> index = merge::make_spark_index(written.lengths);
  merge::CommitSink& commits = node.engine().commits();
  SimDisk& disk = node.disk();
  if (written.is_spark) {
    const std::string place = spark_directory(
        node.data_dirs()[random_.below(node.data_dirs().size())], written.shuffle.app);
    if (!disk.make_directories(place)) return false;
    disk.set_attribute(place, merge::kAppAttribute, written.shuffle.app.str());
    const std::string base = fmt::format("{}/shuffle_{}_{}_0", place,
                                         number(written.shuffle.shuffle), number(written.map));
    written.files = {base + ".index", base + ".data"};
    if (!replace_file(disk, base + ".index", index)) return false;
    node.spark_file_changed(base + ".index", false);
    if (!replace_file(disk, base + ".data", bytes_of(data))) return false;
    node.spark_file_changed(base + ".data", false);
    return true;
  }
  const auto place = commits.generic_directory(written.shuffle, true);
  if (!place) return false;
  // It has just joined, or has lost its disk, and nobody has told it yet of the drop before.
  if (drops_.contains(written.shuffle) && place->ends_with("-0")) written.uncertain_for_good = true;
  const std::string name = std::to_string(number(written.map));
  if (random_.chance(0.5)) {  // a pair
    written.files = {*place + "/" + name + ".index", *place + "/" + name + ".data"};
    if (!replace_file(disk, *place + "/" + name + ".index", index)) return false;
    commits.generic_appeared(written.shuffle, name + ".index");
    if (!replace_file(disk, *place + "/" + name + ".data", bytes_of(data))) return false;
    commits.generic_appeared(written.shuffle, name + ".data");
    return commits.is_committed(written.shuffle, written.map);
  }
  const std::string temporary = fmt::format("{}/.tmp-{}-{}", *place, name, written.writing);
  if (!disk.make_directories(temporary)) return false;
  for (uint32_t p = 0; p < written.lengths.size(); ++p) {
    const std::string block = Truth::block(written, static_cast<merge::PartitionId>(p));
    if (block.empty() && p + 1 < written.lengths.size()) continue;
    if (!replace_file(disk, fmt::format("{}/{}", temporary, p), bytes_of(block))) return false;
    written.files.push_back(fmt::format("{}/{}/{}", *place, name, p));
  }
  if (!disk.rename(temporary, *place + "/" + name)) return false;
  commits.generic_appeared(written.shuffle, name);
  return commits.is_committed(written.shuffle, written.map);
}

std::vector<WrittenMap*> World::live_outputs(
    const std::function<bool(const WrittenMap&)>& eligible) {
  std::vector<WrittenMap*> live;
  for (auto& [writing, written] : truth_.all()) {
    if (written.is_live() && eligible(written)) live.push_back(&written);
  }
  return live;
}

void World::remove_output(WrittenMap& written, std::function<void()> then) {
  SimNode& node = *nodes_[written.origin];
  note(fmt::format("{} removes map {} of {}", node.name().str(), number(written.map),
                   to_string(written.shuffle)));
  // Until the remover has its answer, and for good if it never gets it. If another attempt was
  // committed under the id as well, this one may have ended it or not.
  for (WrittenMap* other : truth_.find(written.shuffle, written.map))
    other->uncertain = other->uncertain || !other->removed_at;
  written.is_half_removed = true;
  node.runtime().start_blocking([this, &node, &written, then = std::move(then)] {
    if (!unlink_files(node, written) || node.disk().frozen()) return;
    // A drop that is under way may remove what a rewriting task writes now: not this one.
    written.uncertain = false;
    written.is_half_removed = false;
    written.removed_at = schedule_.steps();
    note(fmt::format("{} has removed map {} of {}", node.name().str(), number(written.map),
                     to_string(written.shuffle)));
    if (then) then();
  });
}

bool World::unlink_files(SimNode& node, WrittenMap& written) {
  merge::CommitSink& commits = node.engine().commits();
  SimDisk& disk = node.disk();
  const std::string name = std::to_string(number(written.map));
  bool all = true;
  std::set<std::string> directories;
  for (const std::string& path : written.files) {
    const bool is_pair = path.ends_with(".data") || path.ends_with(".index");
    if (!is_pair) {
      directories.insert(path.substr(0, path.rfind('/')));
      continue;
    }
    // Also of what was lost behind the node's back the mount reports the removal.
    const Status removed = disk.remove_file(path);
    if (!removed && removed.error().code != Code::kNotFound) all = false;
    if (written.is_spark)
      node.spark_file_changed(path, true);
    else
      commits.generic_removed(written.shuffle, path.substr(path.rfind('/') + 1));
  }
  for (const std::string& directory : directories) {
    if (!disk.remove_tree(directory)) all = false;
    commits.generic_removed(written.shuffle, name);
  }
  return all;
}

void World::remove_map() {
  const auto live = live_outputs([this](const WrittenMap& written) {
    return !written.harm && nodes_[written.origin]->works();
  });
  if (!live.empty()) remove_output(*live[random_.below(live.size())], {});
}

void World::rewrite_map() {
  const auto live = live_outputs([this](const WrittenMap& written) {
    return !written.is_spark && !written.harm && nodes_[written.origin]->works();
  });
  if (live.empty()) return;
  WrittenMap& written = *live[random_.below(live.size())];
  remove_output(written, [this, &written] {
    after(std::chrono::milliseconds(random_.below(3000)), [this, &written] {
      SimNode& origin = *nodes_[written.origin];
      if (origin.works()) write_output(origin, written.shuffle, written.map, false);
    });
  });
}

// ---- drops -----------------------------------------------------------------------------------------

void World::drop_shuffle() {
  if (SimNode* node = any_working_node()) node->spawn(drop(*this, *node, any_shuffle(), false));
}

void World::reuse_some_name() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  const merge::ShuffleKey shuffle = any_shuffle();
  const auto read = [this, shuffle](bool holds) {
    SimNode* reader = any_working_node();
    if (reader == nullptr) return;
    const auto partition = static_cast<merge::PartitionId>(random_.below(scenario_.partitions));
    reader->spawn(read_partition(*this, *reader, shuffle, partition, holds, false));
  };
  // Some have a partition open through all of it, and some come right after.
  for (uint64_t i = random_.below(3); i > 0; --i) read(true);
  node->spawn(drop(*this, *node, shuffle, true));
  for (uint64_t i = random_.below(4); i > 0; --i)
    after(std::chrono::milliseconds(random_.below(3000)), [read] { read(false); });
}

// At once, by anybody, under map ids that the earlier life has used, or others.
void World::use_again(const merge::ShuffleKey& shuffle) {
  const std::vector<WrittenMap*> earlier = truth_.of(shuffle);
  for (uint64_t i = random_.between(1, 5); i > 0; --i) {
    auto map = static_cast<merge::MapId>(next_map_++);
    if (!earlier.empty() && random_.chance(0.6)) map = earlier[random_.below(earlier.size())]->map;
    after(std::chrono::milliseconds(random_.below(200)), [this, shuffle, map] {
      SimNode* node = any_working_node();
      const bool is_taken = std::ranges::any_of(
          truth_.find(shuffle, map), [](const WrittenMap* other) { return !other->removed_at; });
      if (node != nullptr && !is_taken) write_output(*node, shuffle, map, false);
    });
  }
}

bool World::is_murky(const merge::ShuffleKey& shuffle, std::size_t node) const {
  const auto it = drops_.find(shuffle);
  return it != drops_.end() &&
         (!it->second.under_way.empty() || it->second.missed_by.contains(node));
}

Task<void> World::drop(World& world, SimNode& node, merge::ShuffleKey shuffle, bool uses_again) {
  Drops& drops = world.drops_[shuffle];
  // Until it has come to its end; the node may not live to see that.
  const uint64_t number = ++drops.begun;
  drops.under_way.insert(number);
  std::vector<WrittenMap*> before;
  for (WrittenMap* written : world.truth_.of(shuffle)) {
    if (written->removed_at) continue;
    written->uncertain = true;
    if (written->committed_at)
      before.push_back(written);
    else
      written->uncertain_for_good = true;  // it comes before the drop or after it
  }
  world.note(fmt::format("{} drops {}", node.name().str(), to_string(shuffle)));
  const Status dropped = co_await node.engine().catalog().drop(shuffle.app, shuffle.shuffle);
  world.note(fmt::format("{} has dropped {}: {}", node.name().str(), to_string(shuffle),
                         dropped ? "everywhere" : dropped.error().message));
  for (WrittenMap* written : world.truth_.of(shuffle)) {
    // Written meanwhile.
    if (!written->removed_at && std::ranges::find(before, written) == before.end())
      written->uncertain = written->uncertain_for_good = true;
  }
  if (!dropped) {
    // It says whom it has not reached: they hold on to what they have until they hear of it. Nobody
    // can say of what they write meanwhile whether it counts as of before.
    drops.under_way.erase(number);
    const auto missed = [&](const SimNode& other) {
      return dropped.error().message.find(" " + other.name().str() + " (") != std::string::npos;
    };
    for (const auto& other : world.nodes_) {
      if (missed(*other)) drops.missed_by.insert(other->index());
    }
    const bool by_itself =
        missed(node) || world.scenario_.sick_disks + world.scenario_.full_disks > 0;
    if (by_itself) co_return;  // and it may have failed half-way
    const std::vector<merge::NodeName> names = node.cluster().names();
    PartialDrop partial;
    for (const WrittenMap* written : before) partial.writings.push_back(written->writing);
    for (const auto& other : world.nodes_) {
      const bool is_known = std::ranges::binary_search(names, other->name());
      if (is_known && !missed(*other)) partial.carried_out_by.insert(other->index());
    }
    world.partial_drops_.push_back(std::move(partial));
    if (uses_again) world.use_again(shuffle);
    co_return;
  }
  // Of drops that did not come to their end, too.
  std::erase_if(drops.under_way, [&](uint64_t other) { return other <= number; });
  drops.missed_by.clear();
  ++drops.answered;
  for (WrittenMap* written : before) {
    if (written->removed_at) continue;
    written->uncertain = false;
    written->dropped = true;
    written->removed_at = world.schedule_.steps();
  }
  if (uses_again) world.use_again(shuffle);
}

}  // namespace shufflefs::sim
