// What a read may give (docs/simulation.md): exactly the bytes of the committed map outputs that it
// asks for, or an error.
#include <fmt/format.h>

#include <algorithm>

#include "merge/placement.h"
#include "sim/world.h"

namespace shufflefs::sim {

World::Reading World::begin_reading(SimNode& node, std::string kind,
                                    const merge::ShuffleKey& shuffle, merge::PartitionId partition,
                                    bool at_rest) {
  Reading reading{std::move(kind), shuffle, partition, node.name(), schedule_.steps(), {}, at_rest};
  reading.members = node.cluster().names();
  for (const WrittenMap* written : truth_.of(shuffle)) {
    if (!written->is_live()) continue;
    reading.there.push_back(written->writing);
    for (const Witness& witness : written->witnesses(partition))
      reading.told[written->writing].insert(witness.first);
  }
  return reading;
}

// Whether a read can be asked to notice that the block is missing. What was committed a moment
// before its node was lost for good, or lost its disk, and was told to nobody who still has it
// written down, is known nowhere in the world.
// Of the map output of a node that has left, whoever was no candidate of the partition knows only
// that there is one.
bool World::somebody_knows(const WrittenMap& written, merge::PartitionId partition) const {
  if (!has_left_[written.origin] && !written.is_forgotten_at_origin) return true;
  return std::ranges::any_of(written.told, [&](const auto& who) {
    return !has_left_[who.first.first] &&
           (!has_left_[written.origin] || merge::bit_of(who.second, partition));
  });
}

// Whether somebody who had been told of it, or its origin, could be asked. Beyond that a reader
// cannot tell a node that has been cut off from one that is dead: what only nodes behind the cut
// know is not in the read (docs/semantics.md, "What is not promised"). Of those who were told only
// the partition's candidates list it.
bool World::was_reached(const Reading& reading, const WrittenMap& written) const {
  const auto answered = [&](std::size_t index) {
    const merge::NodeName& name = nodes_[index]->name();
    // Who has left answers nobody, nor does one that the reader does not know.
    if (has_left_[index] || !std::ranges::binary_search(reading.members, name)) return false;
    return std::ranges::none_of(reading.unreachable, [&](const std::string& line) {
      return line.starts_with(name.str() + ":");
    });
  };
  const auto told = reading.told.find(written.writing);
  return (answered(written.origin) && !written.is_forgotten_at_origin) ||
         (told != reading.told.end() && std::ranges::any_of(told->second, answered));
}

bool World::is_merged(const WrittenMap& written, merge::PartitionId partition,
                      const Reading* reading) const {
  const auto reaches = [&](const SimNode& node) {
    const auto reader = std::ranges::find_if(
        nodes_, [&](const auto& other) { return other->name() == reading->reader; });
    return !network_.is_cut((*reader)->index(), node.index()) &&
           std::ranges::none_of(reading->unreachable, [&](const std::string& line) {
             return line.starts_with(node.name().str() + ":");
           });
  };
  return std::ranges::any_of(nodes_, [&](const auto& node) {
    return node->works() && !has_left_[node->index()] && (!reading || reaches(*node)) &&
           merged_check_.holds_intact(node->disk(), node->sound_dirs(), written, partition);
  });
}

bool World::has_two_copies(const WrittenMap& written, merge::PartitionId partition) const {
  return written.is_silent_harm && std::ranges::any_of(nodes_, [&](const auto& node) {
           return node->works() && !has_left_[node->index()] &&
                  merged_check_.holds_other(node->disk(), node->sound_dirs(), written, partition);
         });
}

bool World::is_at_origin(const WrittenMap& written) const {
  return nodes_[written.origin]->works() && !has_left_[written.origin] && !written.harm &&
         !written.is_forgotten_at_origin && !written.is_half_removed;
}

bool World::can_be_fetched(const WrittenMap& written, merge::PartitionId partition) const {
  if (is_at_origin(written)) return true;
  std::vector<merge::NodeName> names;
  for (const SimNode::Member& member : members()) names.push_back(member.name);
  std::ranges::sort(names);
  std::size_t count = 0;
  for (const auto& [writing, other] : truth_.all()) {
    if (other.shuffle == written.shuffle && other.is_live())
      count = std::max(count, other.lengths.size());
  }
  const merge::Placement placement(written.shuffle, names, static_cast<uint32_t>(count));
  return can_be_had(written, partition) && std::ranges::any_of(nodes_, [&](const auto& node) {
           return placement.is_candidate(node->name(), partition) && node->works() &&
                  merged_check_.holds_intact(node->disk(), node->sound_dirs(), written, partition);
         });
}

// An empty block is known to be empty by its origin, and by the candidates that were told of it.
bool World::can_be_had(const WrittenMap& written, merge::PartitionId partition) const {
  if (is_at_origin(written)) return true;
  if (written.length(partition) > 0)
    return is_merged(written, partition) && !has_two_copies(written, partition);
  return std::ranges::any_of(written.witnesses(partition), [&](const Witness& witness) {
    return !has_left_[witness.first] && !has_unsafe_log_.contains(witness.first);
  });
}

bool World::is_all_merged(const WrittenMap& written) const {
  for (uint32_t p = 0; p < written.lengths.size(); ++p) {
    const auto partition = static_cast<merge::PartitionId>(p);
    if (written.lengths[p] > 0 && !is_merged(written, partition)) return false;
  }
  return true;
}

// What was removed before the reading began may not be in it. Excused is what nobody who was asked
// could know: who removes a map output has its answer from the origin, and the origin tells the
// others a moment later. A drop is answered when all have been told, or names whom it has missed.
bool World::may_be_read(const Reading& reading, const WrittenMap& written,
                        const std::optional<merge::NodeName>& holder) const {
  if (!written.committed_at && !written.uncertain) return false;
  if (written.uncertain || !written.removed_at || *written.removed_at >= reading.began) return true;
  // Its origin has lost its table with a disk, and found Spark's file on another one.
  if (written.dropped) return written.is_spark && written.may_come_again;
  const auto answered = [&](std::size_t index) {
    const merge::NodeName& name = nodes_[index]->name();
    return std::ranges::binary_search(reading.members, name) && !has_left_[index] &&
           std::ranges::none_of(reading.unreachable, [&](const std::string& line) {
             return line.starts_with(name.str() + ":");
           });
  };
  const bool is_known = !written.is_forgotten_at_origin && answered(written.origin);
  const bool was_told = std::ranges::any_of(written.removal_told, answered);
  if (reading.kind == "partitions") return !is_known && !was_told;
  if (!reading.at_rest && holder) {  // nobody but the holder of the merged copy is asked
    const auto has_heard = [&](std::size_t index) { return nodes_[index]->name() == *holder; };
    return nodes_[written.origin]->name() != *holder &&
           std::ranges::none_of(written.removal_told, has_heard);
  }
  return has_left_[written.origin] || written.is_forgotten_at_origin;
}

// A node that is killed before it could write its clock, or has lost it with a disk, and whose wall
// clock jumps back, numbers its commits below the former ones (docs/semantics.md, "What is not
// promised").
bool World::may_count_backwards() const {
  return scenario_.clock_jumps > 0 && scenario_.crashes + scenario_.new_disks > 0;
}

void World::failed(const Reading& reading, const std::string& why, bool may_fail_at_rest) {
  ++outcome_.reads_failed;
  note(fmt::format("{} has read {} of {}/{}: {}", reading.reader.str(), reading.kind,
                   to_string(reading.shuffle), number(reading.partition), why));
  if (!reading.at_rest || may_fail_at_rest || has_unreadable_) return;
  // With everybody back only what is lost for good may be missed.
  for (const WrittenMap* written : truth_.of(reading.shuffle)) {
    // Whoever has lost it cannot tell that it is removed.
    const bool is_over =
        written->removed_at && (written->dropped || !written->is_forgotten_at_origin);
    const bool may_be_asked_for = (written->committed_at || written->uncertain) && !is_over;
    const bool may_count_otherwise = written->may_come_again && may_count_backwards();
    if (may_be_asked_for && (may_count_otherwise || !can_be_had(*written, reading.partition)))
      return;
  }
  violate(fmt::format("{}/{} cannot be read ({}) though nothing is wrong: {}",
                      to_string(reading.shuffle), number(reading.partition), reading.kind, why));
}

void World::check_read(const Reading& reading, const std::vector<ReadBlock>& blocks, bool all) {
  ++outcome_.reads_right;
  const auto complain = [&](merge::MapId map, std::string_view what) {
    violate(fmt::format("{} has read {} of {}/{}: map {} {}", reading.reader.str(), reading.kind,
                        to_string(reading.shuffle), number(reading.partition), number(map), what));
  };
  std::set<merge::MapId> seen;
  std::optional<uint64_t> life;
  for (const ReadBlock& block : blocks) {
    if (!seen.insert(block.map).second) complain(block.map, "is in it twice");
    std::vector<const WrittenMap*> equal;
    std::vector<const WrittenMap*> allowed;
    bool is_excused = false;
    for (const WrittenMap* written : truth_.find(reading.shuffle, block.map)) {
      if (Truth::is_block(*written, reading.partition, block.bytes)) {
        equal.push_back(written);
        if (may_be_read(reading, *written, block.holder)) allowed.push_back(written);
      } else if (written->is_silent_harm) {
        // It is told by the checksum that a merged copy has, and by nothing if there is none, or if
        // its node does not answer.
        // Once it is pushed again, who does not ask all may see that copy alone.
        is_excused = is_excused || reading.kind == "a block" ||
                     !is_merged(*written, reading.partition, &reading) ||
                     (reading.kind != "partitions" && has_two_copies(*written, reading.partition));
      }
    }
    if (equal.empty() && is_excused) continue;
    if (equal.empty()) {
      complain(block.map, "has wrong bytes");
    } else if (allowed.empty()) {
      complain(block.map, equal.front()->dropped ? "was dropped before the reading began"
                                                 : "was removed before the reading began");
    } else {
      check_attempts(reading, block.map, allowed);
      if (allowed.size() > 1 || allowed.front()->uncertain || allowed.front()->dropped) continue;
      if (life.value_or(allowed.front()->life) != allowed.front()->life)
        complain(block.map, "is of another life of the name than others");
      life = allowed.front()->life;
    }
  }
  if (all) check_missing(reading, blocks);
}

void World::check_missing(const Reading& reading, const std::vector<ReadBlock>& blocks) {
  std::map<merge::MapId, std::vector<const WrittenMap*>> there;
  for (const uint64_t writing : reading.there) {
    const WrittenMap& written = truth_.all().at(writing);
    if (written.is_live()) there[written.map].push_back(&written);
  }
  for (const auto& [map, attempts] : there) {
    if (std::ranges::any_of(blocks, [&](const ReadBlock& block) { return block.map == map; }))
      continue;
    // One of two attempts counts; it may be the one that is empty here.
    std::vector<const WrittenMap*> empty;
    for (const WrittenMap* attempt : truth_.find(reading.shuffle, map)) {
      if (!attempt->removed_at && attempt->length(reading.partition) == 0) empty.push_back(attempt);
    }
    if (!empty.empty()) {
      check_attempts(reading, map, empty);
      continue;
    }
    if (std::ranges::any_of(attempts, [&](const auto* one) {
          return somebody_knows(*one, reading.partition) && was_reached(reading, *one);
        })) {
      std::string told;
      for (const auto& [witness, ranges] : attempts.front()->told)
        told += fmt::format(" {}", nodes_[witness.first]->name().str());
      violate(fmt::format("{} has read {} of {}/{}: it is short of map {} of {} (told to{})",
                          reading.reader.str(), reading.kind, to_string(reading.shuffle),
                          number(reading.partition), number(map),
                          nodes_[attempts.front()->origin]->name().str(), told));
      continue;
    }
    ++outcome_.reads_forgetful;
    note(fmt::format("map {} is not in it: nobody who is left has heard of it", number(map)));
  }
}

// At rest all partitions and all readers take the blocks of one attempt.
void World::check_attempts(const Reading& reading, merge::MapId map,
                           const std::vector<const WrittenMap*>& read) {
  // A block is asked for at its origin, by its commit.
  if (!reading.at_rest || reading.kind == "a block") return;
  if (truth_.find(reading.shuffle, map).size() < 2) return;
  std::set<uint64_t> now;
  for (const WrittenMap* written : read) now.insert(written->writing);
  const auto [it, is_first] = attempts_.try_emplace({reading.shuffle, map}, now);
  if (is_first) return;
  std::erase_if(it->second, [&](uint64_t writing) { return !now.contains(writing); });
  if (it->second.empty())
    violate(fmt::format("the partitions of {} have blocks of two attempts of map {}",
                        to_string(reading.shuffle), number(map)));
}

}  // namespace shufflefs::sim
