// Reads single blocks of merged partitions for those who ask for many of them, in any order and
// over several connections: a reduce task asks each origin's service for its blocks of one
// partition. All of them share the plan of the partition and what has been fetched, so that the
// holder's disk sees its file once, from front to back, in pieces of about 1 MiB.
//
// Threads: reactor only. Failure: of one block; then ask its origin. Memory: what is fetched is a
// part of the read share of the budget, at most half of it, also while it is being sent; the plans
// are bounded by kMaxPlannedBlocks. Bounds: those of Catalog and BlockReader, and
// StreamOptions::patience for memory.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/event.h"
#include "base/gate.h"
#include "base/memory_budget.h"
#include "base/semaphore.h"
#include "merge/block_reader.h"
#include "merge/catalog.h"
#include "merge/engine_options.h"

namespace shufflefs::merge {

class MergedReaders;

// Where the bytes of a merged block came from.
enum class MergedSource : uint8_t { kHere, kThere, kElsewhere };

// One partition, as it was merged at one moment.
class MergedReader : public std::enable_shared_from_this<MergedReader> {
 public:
  MergedReader(MergedReaders& all, PartitionPlan plan, uint64_t unit_bytes);
  MergedReader(const MergedReader&) = delete;
  MergedReader& operator=(const MergedReader&) = delete;

  [[nodiscard]] const PartitionPlan& plan() const { return plan_; }
  // The block, if this commit's origin is that node: two nodes may have committed one map id, and
  // whoever asks means the one that it was told of.
  [[nodiscard]] const PlannedBlock* find(MapId map, NodeTag origin) const;

  // It could not be read: find() does not give it any more.
  void give_up(const PlannedBlock* block) { bad_.insert(block); }
  // Whether it is known that this map output of that node has no bytes in the partition.
  [[nodiscard]] bool is_empty(MapId map, NodeTag origin) const;
  // Asks for that: who holds the merged partition, as it was told of every map output, then the
  // origin itself. Once for each of them. Later answers of is_empty() know more.
  [[nodiscard]] Task<void> learn_empty(MapId map, NodeTag origin);

  // What is fetched at a time.
  struct Unit {
    std::optional<Result<Buffer>> done;
    Event loaded;
    MergedSource source = MergedSource::kHere;
    std::size_t left = 0;  // blocks that nobody has taken yet
    Semaphore::Permit held;
    explicit Unit(Runtime& runtime) : loaded(runtime) {}
  };
  // The bytes stay as long as the slice.
  struct Slice {
    std::shared_ptr<Unit> unit;
    std::span<const std::byte> bytes;
  };
  // `block` is one that find() has given.
  [[nodiscard]] Task<Result<Slice>> read(const PlannedBlock* block);
  [[nodiscard]] bool is_loaded(const PlannedBlock* block) const;
  // Begins to fetch it, if memory is free.
  void prefetch(const PlannedBlock* block);

 private:
  friend class MergedReaders;
  struct Place {
    std::size_t first = 0;  // block
    std::size_t blocks = 0;
    std::size_t foreign = 0;  // of them: of other nodes than this one, which reads its own as files
    uint64_t length = 0;
  };

  [[nodiscard]] std::size_t unit_of(const PlannedBlock* block) const;
  std::shared_ptr<Unit> load(std::size_t index);
  Task<void> fetch_unit(std::size_t index, std::shared_ptr<Unit> unit);
  Task<Result<Buffer>> fetch(std::size_t index, Unit& unit);
  Task<Status> read_large(const PlannedBlock& block, std::span<std::byte> into);

  MergedReaders& all_;
  const PartitionPlan plan_;
  std::vector<uint32_t> by_map_;  // numbers of blocks
  std::vector<Place> units_;
  std::map<std::size_t, std::shared_ptr<Unit>> loaded_;
  std::set<std::pair<MapId, NodeTag>> empty_;
  std::set<NodeName> asked_;  // for empty blocks
  std::set<const PlannedBlock*> bad_;
  const uint64_t unit_bytes_;
  TimePoint made_;
  TimePoint used_;
  BlockReader blocks_;
};

class MergedReaders {
 public:
  static constexpr std::size_t kMaxPlannedBlocks = 400'000;  // 64 MB

  MergedReaders(Runtime& runtime, Cluster& cluster, Catalog& catalog, ByteBudget& budget,
                Metrics& metrics, StreamOptions options);
  ~MergedReaders();
  MergedReaders(const MergedReaders&) = delete;
  MergedReaders& operator=(const MergedReaders&) = delete;

  // The partition as it was merged a moment ago. `fresh`: not as it was before this call, but for
  // kFreshFor. `together`: how many partitions the caller reads at the same time; the more, the
  // less is fetched of each.
  [[nodiscard]] Task<std::shared_ptr<MergedReader>> open(ShuffleKey shuffle, PartitionId partition,
                                                         bool fresh, std::size_t together);
  // The largest block that can be read.
  [[nodiscard]] uint64_t max_block_bytes() const { return held_.total(); }
  // Of blocks that read_all() puts together.
  [[nodiscard]] uint64_t max_range_bytes() const { return ranges_.total() / 2; }

  struct Part {
    MergedReader* reader = nullptr;
    const PlannedBlock* block = nullptr;
  };
  struct Range {
    MergedReader::Slice slice;
    std::vector<MergedSource> sources;  // of each part
  };
  // Blocks of several partitions as one run of bytes, which holds on to none of what they were
  // fetched with. REQUIRES: at most max_range_bytes().
  [[nodiscard]] Task<Result<Range>> read_all(std::vector<Part> parts);
  // Forgets what has not been used for a while. Every few seconds.
  void clean_up();
  [[nodiscard]] uint64_t held_bytes() const { return held_.used(); }
  [[nodiscard]] Task<void> close();

 private:
  friend class MergedReader;
  using Key = std::pair<ShuffleKey, PartitionId>;
  struct Entry {
    std::shared_ptr<MergedReader> reader;
    std::shared_ptr<Event> planning;  // somebody asks for the plan
  };

  void forget_plans(std::size_t most_blocks);
  // Gives up what was fetched and is not being sent, the longest unused first, until so many bytes
  // are free; false if they are not.
  bool make_room(uint64_t bytes);
  void note_loaded(const std::shared_ptr<MergedReader>& reader, std::size_t index);

  Runtime& runtime_;
  Cluster& cluster_;
  Catalog& catalog_;
  ByteBudget& budget_;
  Metrics& metrics_;
  const StreamOptions options_;
  Semaphore held_;    // what is fetched
  Semaphore ranges_;  // what is put together of it
  std::map<Key, Entry> entries_;
  // What has been fetched, the oldest first.
  std::list<std::pair<std::weak_ptr<MergedReader>, std::size_t>> fetched_;
  Gate gate_;
};

}  // namespace shufflefs::merge
