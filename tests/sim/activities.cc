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

void World::write_output(SimNode& node, const merge::ShuffleKey& shuffle, merge::MapId map) {
  WrittenMap written;
  written.shuffle = shuffle;
  written.map = map;
  written.origin = node.index();
  // Spark does not use the number of a shuffle again.
  written.is_spark = random_.chance(0.4) && !dropped_.contains(shuffle);
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
  const bool whole = put_files(node, known);
  const bool sound = !node.disk().frozen();
  // A task whose writes failed has not committed; what a crash left half-way may come to light
  // after the restart, and is whole then.
  known.committed = whole && sound;
  known.uncertain = !known.committed || murky_.contains(shuffle);
  note(fmt::format("{} writes map {} of {}{}: {}", node.name().str(), number(map),
                   to_string(shuffle), known.is_spark ? " (Spark)" : "",
                   known.committed ? "committed" : "failed"));
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
    if (!replace_file(disk, base + ".index", index)) return false;
    commits.spark_file_appeared(base + ".index");
    if (!replace_file(disk, base + ".data", bytes_of(data))) return false;
    commits.spark_file_appeared(base + ".data");
    return true;
  }
  const auto place = commits.generic_directory(written.shuffle, true);
  if (!place) return false;
  const std::string name = std::to_string(number(written.map));
  if (random_.chance(0.5)) {  // a pair
    if (!replace_file(disk, *place + "/" + name + ".index", index)) return false;
    commits.generic_appeared(written.shuffle, name + ".index");
    if (!replace_file(disk, *place + "/" + name + ".data", bytes_of(data))) return false;
    commits.generic_appeared(written.shuffle, name + ".data");
    return commits.is_committed(written.shuffle, written.map);
  }
  const std::string temporary = *place + "/.tmp-" + name;
  if (!disk.make_directories(temporary)) return false;
  for (uint32_t p = 0; p < written.lengths.size(); ++p) {
    const std::string block = Truth::block(written, static_cast<merge::PartitionId>(p));
    if (block.empty() && p + 1 < written.lengths.size()) continue;
    if (!replace_file(disk, fmt::format("{}/{}", temporary, p), bytes_of(block))) return false;
  }
  if (!disk.rename(temporary, *place + "/" + name)) return false;
  commits.generic_appeared(written.shuffle, name);
  return commits.is_committed(written.shuffle, written.map);
}

bool World::remove_output(WrittenMap& written) {
  SimNode& node = *nodes_[written.origin];
  if (!node.works() || !written.is_live()) return false;
  merge::CommitSink& commits = node.engine().commits();
  SimDisk& disk = node.disk();
  const std::string pair =
      fmt::format("shuffle_{}_{}_0", number(written.shuffle.shuffle), number(written.map));
  const std::string name = std::to_string(number(written.map));
  written.removed = true;
  for (const std::string& data_dir : node.data_dirs()) {
    const std::string spark = spark_directory(data_dir, written.shuffle.app) + "/" + pair;
    const std::string generic = fmt::format("{}/maps/{}/{}/{}", data_dir, written.shuffle.app.str(),
                                            number(written.shuffle.shuffle), name);
    for (const char* suffix : {".data", ".index"}) {
      if (disk.peek(spark + suffix) != nullptr) {
        if (!disk.remove_file(spark + suffix)) written.uncertain = true;
        commits.spark_file_removed(spark + suffix);
      }
      if (disk.peek(generic + suffix) != nullptr) {
        if (!disk.remove_file(generic + suffix)) written.uncertain = true;
        commits.generic_removed(written.shuffle, name + suffix);
      }
    }
    if (disk.files_below(generic).empty()) continue;
    if (!disk.remove_tree(generic)) written.uncertain = true;
    commits.generic_removed(written.shuffle, name);
  }
  note(fmt::format("{} removes map {} of {}", node.name().str(), number(written.map),
                   to_string(written.shuffle)));
  return !written.uncertain && !disk.frozen();
}

void World::remove_map() {
  std::vector<WrittenMap*> live;
  for (auto& [writing, written] : truth_.all()) {
    if (written.is_live() && nodes_[written.origin]->works()) live.push_back(&written);
  }
  if (!live.empty()) (void)remove_output(*live[random_.below(live.size())]);
}

void World::rewrite_map() {
  std::vector<WrittenMap*> live;
  for (auto& [writing, written] : truth_.all()) {
    if (written.is_live() && !written.is_spark && nodes_[written.origin]->works())
      live.push_back(&written);
  }
  if (live.empty()) return;
  WrittenMap& written = *live[random_.below(live.size())];
  if (!remove_output(written)) return;
  const merge::ShuffleKey shuffle = written.shuffle;
  const merge::MapId map = written.map;
  after(std::chrono::milliseconds(random_.below(3000)),
        [this, origin = written.origin, shuffle, map] {
          if (nodes_[origin]->works()) write_output(*nodes_[origin], shuffle, map);
        });
}

void World::drop_shuffle() {
  SimNode* node = any_working_node();
  if (node == nullptr) return;
  const merge::ShuffleKey shuffle = any_shuffle();
  std::vector<uint64_t> writings;
  for (WrittenMap* written : truth_.of(shuffle)) {
    written->uncertain = written->uncertain || !written->removed;
    writings.push_back(written->writing);
  }
  note(fmt::format("{} drops {}", node->name().str(), to_string(shuffle)));
  dropped_.insert(shuffle);
  // Until it has come to its end; the node may not live to see that.
  const bool was_murky = !murky_.insert(shuffle).second;
  node->spawn(drop(*this, *node, shuffle, std::move(writings), was_murky));
}

Task<void> World::drop(World& world, SimNode& node, merge::ShuffleKey shuffle,
                       std::vector<uint64_t> writings, bool was_murky) {
  const std::size_t known = node.cluster().names().size();
  const Status dropped = co_await node.engine().catalog().drop(shuffle.app, shuffle.shuffle);
  world.note(fmt::format("{} has dropped {}: {}", node.name().str(), to_string(shuffle),
                         dropped ? "everywhere" : dropped.error().message));
  if (!dropped || known != world.members().size()) {
    // Some node has not heard of it, and holds on to what it has until it does.
    for (WrittenMap* written : world.truth_.of(shuffle)) written->uncertain = true;
    co_return;
  }
  if (!was_murky) world.murky_.erase(shuffle);
  for (WrittenMap* written : world.truth_.of(shuffle)) {
    if (written->removed) continue;
    const bool was_there = std::ranges::binary_search(writings, written->writing);
    if (!was_there) {  // written meanwhile: before or after the drop came by
      written->uncertain = true;
      continue;
    }
    written->removed = true;
    // Spark's files are not ours to remove: a restarted node tells them by their time.
    written->uncertain = !written->committed || written->is_spark;
  }
}

}  // namespace shufflefs::sim
