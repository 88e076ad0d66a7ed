// What a read may give (docs/simulation.md): exactly the bytes of the committed map outputs that it
// asks for, or an error. Part of World; the readers are in read_check.cc.
#pragma once

#include "sim/world.h"

namespace shufflefs::sim {

// What was certain when the reading began.
struct World::Reading {
  std::string kind;  // for people: "partitions", ".merged"
  merge::ShuffleKey shuffle;
  merge::PartitionId partition{};
  merge::NodeName reader;
  uint64_t began = 0;           // in steps
  std::vector<uint64_t> there;  // writings that were there, with or without bytes
  bool at_rest = false;
  std::vector<merge::NodeName> members{};            // as the reader knew them
  std::vector<std::string> unreachable{};            // "node3: connection refused", from its plan
  std::map<uint64_t, std::set<std::size_t>> told{};  // which nodes of each that was there
};

struct World::ReadBlock {
  merge::MapId map{};
  std::string_view bytes;
  std::optional<merge::NodeName> holder;  // of the merged copy that it was planned from
};

}  // namespace shufflefs::sim
