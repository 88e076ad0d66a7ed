// Where the relay takes a block from: a merged partition, or the block's origin.
//
// Pure, on the reactor. A chunk is merged only if every partition of it is, by the node that was
// asked: map ids alone may have been committed twice, and a range of partitions must not lack one.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "merge/merged_reader.h"
#include "net/ess/protocol.h"

namespace shufflefs::net::relay {

enum class Why : uint8_t {
  kMerged,
  kUnknownNode,  // no member has the address of the origin
  kNotMerged,    // of at least one of its partitions
  kTooLarge,     // a block, for the memory that it would be checked in
  kFailed,       // it is merged, but could not be read
};
[[nodiscard]] std::string_view to_string(Why why);

using Readers = std::map<merge::PartitionId, std::shared_ptr<merge::MergedReader>>;

struct Choice {
  Why why = Why::kNotMerged;
  std::vector<merge::MergedReaders::Part> parts;  // in the order of the partitions
  uint64_t bytes = 0;
};

// The partitions of all chunks of the list; nothing if they are too many to be looked up.
[[nodiscard]] std::optional<std::set<merge::PartitionId>> partitions_of(
    const ess::BlockList& blocks);

[[nodiscard]] Choice choose(const ess::BlockList& blocks, std::size_t chunk, const Readers& readers,
                            std::optional<merge::NodeTag> origin, uint64_t max_block_bytes);

}  // namespace shufflefs::net::relay
