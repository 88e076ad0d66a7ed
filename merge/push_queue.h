// What waits to be pushed to one owner. Fair: one message for an application, then one for the
// next, and within an application one for each shuffle in turn, so that a huge shuffle does not
// starve a small one. Small chunks of one shuffle, of whatever map outputs, are put together into
// one message, those of neighbouring partitions first: the owner appends what belongs to one
// partition in one piece.
//
// Threads: none of its own; the reactor's. Cost: logarithmic in the number of applications,
// shuffles and groups. Memory: about 100 bytes for a chunk and 16 for each of its blocks.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/runtime.h"
#include "merge/map_output.h"

namespace shufflefs::merge {

struct BlockToPush {
  PartitionId partition{};
  uint64_t length = 0;  // > 0
};

// Contiguous blocks of one map output (empty ones between them do not count).
struct PushChunk {
  std::shared_ptr<const MapOutput> output;
  std::vector<BlockToPush> blocks;  // ascending
  uint64_t bytes = 0;
  uint64_t data_offset = 0;  // of the first block when all blocks are laid end to end
  uint32_t group = 0;        // chunks of one group hold neighbouring partitions
  uint32_t attempts = 0;
  bool alone = false;    // not to be put together with others: such a message was refused
  bool offer = false;    // most likely merged long ago: ask before sending
  bool second = false;   // the second choice has been tried, or is being
  bool leaving = false;  // its node is being drained: any other node will do; merged when the
                         // owner has said so to an offer
  std::vector<NodeName> tried;          // who did not take it, if it is `leaving`
  std::optional<TimePoint> busy_since;  // when the owner first had no room for it
};

class PushQueue {
 public:
  // To be taken at `due` or later.
  void add(PushChunk chunk, TimePoint due);
  // The chunks of the next message: at least one, more as long as all together have at most `bytes`
  // bytes and `blocks` blocks. All have the same shuffle, life and `offer`. Empty if none is due.
  [[nodiscard]] std::vector<PushChunk> take(uint64_t bytes, std::size_t blocks, TimePoint now);
  // Everything that is due.
  [[nodiscard]] std::vector<PushChunk> take_due(TimePoint now);

  [[nodiscard]] bool has_due(TimePoint now);
  // When the next one will be due, if none is now.
  [[nodiscard]] std::optional<TimePoint> next_due() const;
  [[nodiscard]] bool empty() const { return chunks_ == 0; }
  [[nodiscard]] std::size_t chunks() const { return chunks_; }
  [[nodiscard]] std::size_t blocks() const { return blocks_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  using Groups = std::map<uint32_t, std::deque<PushChunk>>;
  struct Shuffle {
    Groups groups;
    uint32_t last_group = 0;
  };
  struct App {
    std::map<ShuffleId, Shuffle> shuffles;
    ShuffleId last_shuffle{};
  };

  void make_ready(PushChunk chunk);
  void promote(TimePoint now);
  void count_out(const PushChunk& chunk);

  std::map<AppId, App> apps_;
  AppId last_app_;
  std::multimap<TimePoint, PushChunk> later_;
  std::size_t chunks_ = 0;
  std::size_t blocks_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace shufflefs::merge
