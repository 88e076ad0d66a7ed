#include "merge/merged_reader.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace shufflefs::merge {
namespace {

constexpr uint64_t kMaxUnitBytes = 1U << 20U;
constexpr uint64_t kMinUnitBytes = 64U << 10U;
// Of all partitions that somebody reads at the same time.
constexpr uint64_t kUnitsTogether = 8U << 20U;
constexpr Duration kFreshFor = std::chrono::seconds(1);
constexpr Duration kForgetAfter = std::chrono::seconds(20);
constexpr Duration kDropFetchedAfter = std::chrono::seconds(5);

}  // namespace

// ---- one partition -------------------------------------------------------------------------------

MergedReader::MergedReader(MergedReaders& all, PartitionPlan plan, uint64_t unit_bytes)
    : all_(all),
      plan_(std::move(plan)),
      unit_bytes_(unit_bytes),
      made_(all.runtime_.now()),
      used_(made_),
      blocks_(all.runtime_, all.cluster_, all.metrics_, all.gate_, all.options_.lost_patience,
              plan_) {
  by_map_.resize(plan_.blocks.size());
  std::iota(by_map_.begin(), by_map_.end(), 0);
  std::ranges::sort(by_map_, {}, [&](uint32_t number) { return plan_.blocks[number].map; });
  const NodeTag own = tag_of(all_.cluster_.self());
  for (std::size_t i = 0; i < plan_.blocks.size(); ++i) {
    const PlannedBlock& block = plan_.blocks[i];
    // Only what lies together at one holder: that is one request.
    const bool joins = i > 0 && units_.back().length + block.length <= unit_bytes_ &&
                       plan_.blocks[i - 1].merged->holder == block.merged->holder &&
                       plan_.blocks[i - 1].merged->view_offset + plan_.blocks[i - 1].length ==
                           block.merged->view_offset;
    if (!joins) units_.push_back({.first = i});
    ++units_.back().blocks;
    if (block.id.origin != own) ++units_.back().foreign;
    units_.back().length += block.length;
  }
}

const PlannedBlock* MergedReader::find(MapId map, NodeTag origin) const {
  const auto it = std::ranges::lower_bound(
      by_map_, map, {}, [&](uint32_t number) { return plan_.blocks[number].map; });
  if (it == by_map_.end()) return nullptr;
  const PlannedBlock& block = plan_.blocks[*it];
  const bool fits = block.map == map && block.id.origin == origin && block.merged;
  return fits && !bad_.contains(&block) ? &block : nullptr;
}

bool MergedReader::is_empty(MapId map, NodeTag origin) const {
  return empty_.contains({map, origin});
}

Task<void> MergedReader::learn_empty(MapId map, NodeTag origin) {
  const auto self = shared_from_this();
  std::vector<NodeName> names;
  if (!plan_.blocks.empty()) names.push_back(plan_.blocks.front().merged->holder);
  for (const NodeName& name : all_.cluster_.names()) {
    if (tag_of(name) == origin) names.push_back(name);
  }
  for (const NodeName& name : names) {
    if (is_empty(map, origin)) co_return;
    const std::shared_ptr<NodeApi> node = all_.cluster_.node(name);
    if (!node || !asked_.insert(name).second) continue;
    const auto info = co_await node->partition_info(plan_.shuffle, plan_.partition);
    if (!info) continue;
    for (const HeardBlock& heard : info->heard) {
      if (heard.non_empty == false) empty_.emplace(heard.map, tag_of(heard.origin));
    }
    for (const OwnBlock& own : info->own) {
      if (own.length == 0 && !own.lost) empty_.emplace(own.map, tag_of(name));
    }
  }
}

std::size_t MergedReader::unit_of(const PlannedBlock* block) const {
  const auto number = static_cast<std::size_t>(block - plan_.blocks.data());
  const auto after = std::ranges::upper_bound(units_, number, {}, &Place::first);
  return static_cast<std::size_t>(after - units_.begin()) - 1;
}

std::shared_ptr<MergedReader::Unit> MergedReader::load(std::size_t index) {
  std::shared_ptr<Unit>& place = loaded_[index];
  if (!place) {
    place = std::make_shared<Unit>(all_.runtime_);
    place->left = units_[index].foreign;
    all_.gate_.spawn(fetch_unit(index, place));
  }
  return place;
}

bool MergedReader::is_loaded(const PlannedBlock* block) const {
  const auto it = loaded_.find(unit_of(block));
  return it != loaded_.end() && it->second->done;
}

void MergedReader::prefetch(const PlannedBlock* block) {
  const std::size_t index = unit_of(block);
  if (!loaded_.contains(index) && all_.make_room(units_[index].length)) (void)load(index);
}

Task<Result<MergedReader::Slice>> MergedReader::read(const PlannedBlock* block) {
  const auto self = shared_from_this();
  used_ = all_.runtime_.now();
  const std::size_t index = unit_of(block);
  const std::shared_ptr<Unit> unit = load(index);
  co_await unit->loaded.wait();
  const auto forget = [&] {
    const auto it = loaded_.find(index);
    if (it != loaded_.end() && it->second == unit) loaded_.erase(it);
  };
  if (!unit->done) co_return make_error(Code::kCancelled, "stopping");
  if (!*unit->done) {
    forget();  // the next one tries again
    co_return unit->done->error();
  }
  // Each block is read once, mostly: with the last one the unit has done its duty.
  if (unit->left > 0 && --unit->left == 0) forget();
  const uint64_t within = block->offset - plan_.blocks[units_[index].first].offset;
  co_return Slice{unit, (*unit->done)->span().subspan(within, block->length)};
}

Task<void> MergedReader::fetch_unit(std::size_t index, std::shared_ptr<Unit> unit) {
  const auto self = shared_from_this();
  unit->done = co_await fetch(index, *unit);
  if (*unit->done) all_.note_loaded(self, index);
  unit->loaded.set();
}

Task<Result<Buffer>> MergedReader::fetch(std::size_t index, Unit& unit) {
  const Place place = units_[index];
  if (place.length > all_.held_.total())
    co_return make_error(Code::kTooLarge, "the block does not fit the memory for reading");
  (void)all_.make_room(place.length);
  auto held = co_await all_.held_.acquire(place.length, all_.options_.patience);
  if (!held) co_return make_error(Code::kNoMemory, "no memory for reading became free in time");
  unit.held = *std::move(held);
  CO_TRY_ASSIGN(ByteBudget::Lease lease,
                co_await all_.budget_.acquire(place.length, all_.options_.patience));
  const auto blocks = std::span(plan_.blocks).subspan(place.first, place.blocks);
  unit.source = blocks.front().merged->holder == all_.cluster_.self() ? MergedSource::kHere
                                                                      : MergedSource::kThere;
  if (place.length <= kMaxUnitBytes) {
    if (auto run = co_await blocks_.read_run(blocks)) {
      run->set_lease(std::move(lease));
      co_return *std::move(run);
    }
  }
  Buffer buffer(place.length, std::move(lease));
  if (place.length > kMaxUnitBytes) {
    CO_TRY(co_await read_large(blocks.front(), buffer.span()));
    co_return buffer;
  }
  unit.source = MergedSource::kElsewhere;
  for (const PlannedBlock& block : blocks) {
    CO_TRY(co_await blocks_.read_whole(
        block, buffer.span().subspan(block.offset - blocks.front().offset, block.length)));
  }
  co_return buffer;
}

Task<Status> MergedReader::read_large(const PlannedBlock& block, std::span<std::byte> into) {
  Status read;
  // Twice: where a copy shows to be damaged with its last piece, all are read anew from elsewhere.
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (uint64_t at = 0; at < into.size(); at += kMaxUnitBytes) {
      const uint64_t length = std::min<uint64_t>(kMaxUnitBytes, into.size() - at);
      read = co_await blocks_.read_piece(block, at, into.subspan(at, length));
      if (!read) break;
    }
    if (read || read.error().code != Code::kCorruptData) break;
  }
  co_return read;
}

// ---- all of them ---------------------------------------------------------------------------------

MergedReaders::MergedReaders(Runtime& runtime, Cluster& cluster, Catalog& catalog,
                             ByteBudget& budget, Metrics& metrics, StreamOptions options)
    : runtime_(runtime),
      cluster_(cluster),
      catalog_(catalog),
      budget_(budget),
      metrics_(metrics),
      options_(options),
      held_(runtime, budget.total_bytes() / 16 * 7),
      ranges_(runtime, budget.total_bytes() / 16),
      gate_(runtime, "merged readers") {}

MergedReaders::~MergedReaders() = default;

Task<void> MergedReaders::close() {
  held_.close();
  ranges_.close();
  co_await gate_.close();
}

Task<std::shared_ptr<MergedReader>> MergedReaders::open(ShuffleKey shuffle, PartitionId partition,
                                                        bool fresh, std::size_t together) {
  const Key key{shuffle, partition};
  const TimePoint asked = runtime_.now();
  while (true) {
    Entry& entry = entries_[key];
    if (entry.planning) {
      const auto planning = entry.planning;
      co_await planning->wait();
      continue;
    }
    if (entry.reader && (!fresh || entry.reader->made_ + kFreshFor > asked)) {
      entry.reader->used_ = runtime_.now();
      co_return entry.reader;
    }
    struct Planning {
      std::shared_ptr<Event> event;
      Entry& entry;
      Planning(std::shared_ptr<Event> made, Entry& of) : event(std::move(made)), entry(of) {
        entry.planning = event;
      }
      Planning(const Planning&) = delete;
      Planning& operator=(const Planning&) = delete;
      ~Planning() {
        entry.planning.reset();
        event->set();
      }
    };
    const Planning planning(std::make_shared<Event>(runtime_), entry);
    PartitionPlan plan = co_await catalog_.merged_plan(shuffle, partition);
    forget_plans(kMaxPlannedBlocks - std::min(kMaxPlannedBlocks, plan.blocks.size()));
    const uint64_t unit_bytes = std::clamp<uint64_t>(
        kUnitsTogether / std::max<std::size_t>(together, 1), kMinUnitBytes, kMaxUnitBytes);
    entry.reader = std::make_shared<MergedReader>(*this, std::move(plan), unit_bytes);
    co_return entry.reader;
  }
}

Task<Result<MergedReaders::Range>> MergedReaders::read_all(std::vector<Part> parts) {
  uint64_t bytes = 0;
  for (const Part& part : parts) bytes += part.block->length;
  auto held = co_await ranges_.acquire(bytes, options_.patience);
  if (!held) co_return make_error(Code::kNoMemory, "no memory for reading became free in time");
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await budget_.acquire(bytes, options_.patience));
  const auto unit = std::make_shared<MergedReader::Unit>(runtime_);
  unit->held = *std::move(held);
  Buffer all(bytes, std::move(lease));
  Range range;
  uint64_t at = 0;
  for (const Part& part : parts) {
    CO_TRY_ASSIGN(const MergedReader::Slice slice, co_await part.reader->read(part.block));
    std::memcpy(all.data() + at, slice.bytes.data(), slice.bytes.size());
    at += slice.bytes.size();
    range.sources.push_back(slice.unit->source);
  }
  unit->done = std::move(all);
  range.slice = {unit, (*unit->done)->span()};
  co_return range;
}

void MergedReaders::forget_plans(std::size_t most_blocks) {
  std::size_t blocks = 0;
  for (const auto& [key, entry] : entries_)
    blocks += entry.reader ? entry.reader->plan().blocks.size() : 0;
  while (blocks > most_blocks) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (!it->second.reader || it->second.planning) continue;
      if (oldest == entries_.end() || it->second.reader->used_ < oldest->second.reader->used_)
        oldest = it;
    }
    if (oldest == entries_.end()) return;
    blocks -= oldest->second.reader->plan().blocks.size();
    entries_.erase(oldest);
  }
}

void MergedReaders::note_loaded(const std::shared_ptr<MergedReader>& reader, std::size_t index) {
  fetched_.emplace_back(reader, index);
}

bool MergedReaders::make_room(uint64_t bytes) {
  for (auto it = fetched_.begin(); it != fetched_.end() && held_.total() - held_.used() < bytes;) {
    const auto reader = it->first.lock();
    if (reader) {
      const auto unit = reader->loaded_.find(it->second);
      if (unit != reader->loaded_.end()) {
        // Whoever sends of it holds it too.
        const bool in_use = unit->second.use_count() > 1 || !unit->second->done;
        if (in_use) {
          ++it;
          continue;
        }
        reader->loaded_.erase(unit);
      }
    }
    it = fetched_.erase(it);
  }
  return held_.total() - held_.used() >= bytes;
}

void MergedReaders::clean_up() {
  const TimePoint now = runtime_.now();
  std::erase_if(fetched_, [&](const auto& place) {
    const auto reader = place.first.lock();
    if (!reader || !reader->loaded_.contains(place.second)) return true;
    if (now - reader->used_ < kDropFetchedAfter) return false;
    reader->loaded_.erase(place.second);
    return true;
  });
  std::erase_if(entries_, [&](const auto& entry) {
    const Entry& held = entry.second;
    return !held.planning && (!held.reader || now - held.reader->used_ > kForgetAfter);
  });
}

}  // namespace shufflefs::merge
