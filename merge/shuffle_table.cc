// Events: how map outputs begin and end. What is answered from it is in shuffle_table_answers.cc,
// how it comes back after a restart in shuffle_table_load.cc.
#include "merge/shuffle_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kRefusalsKept = 8;
constexpr std::size_t kMaxRangesKept = 4;  // times those of one announcement

TableLog::Name log_name(const ShuffleKey& key) { return {key.app, key.shuffle}; }

}  // namespace

ShuffleTable::ShuffleTable(FileIo& io, TableLog& log, LogicalClock& clock, const NodeName& self,
                           std::string heard_path, uint64_t max_held_bytes)
    : io_(io),
      log_(log),
      clock_(clock),
      self_(self),
      self_tag_(tag_of(self)),
      heard_path_(std::move(heard_path)),
      max_held_bytes_(max_held_bytes) {}

ShuffleTable::Shuffle& ShuffleTable::shuffle(const ShuffleKey& key) {
  std::unique_ptr<Shuffle>& place = shuffles_[key];
  if (!place) {
    place = std::make_unique<Shuffle>();
    place->key = key;
    if (const uint64_t life = life_locked(key); life > 0) {
      place->life = life;
      // The records that follow are of this life, whoever's drop began it.
      record(*place, LifeRecord{life}, life);
    }
  }
  return *place;
}

const ShuffleTable::Shuffle* ShuffleTable::look(const ShuffleKey& key) const {
  const auto it = shuffles_.find(key);
  return it != shuffles_.end() ? it->second.get() : nullptr;
}

uint64_t ShuffleTable::life_locked(const ShuffleKey& key) const {
  const auto of_app = lives_.find({key.app, std::nullopt});
  const auto of_shuffle = lives_.find(log_name(key));
  return std::max(of_app != lives_.end() ? of_app->second.life : 0,
                  of_shuffle != lives_.end() ? of_shuffle->second.life : 0);
}

uint64_t ShuffleTable::add_news(NewsRef news) {
  news_.emplace(++last_news_, std::move(news));
  return last_news_;
}

void ShuffleTable::record(const Shuffle& shuffle, const TableRecord& record, uint64_t number) {
  log_.append(log_name(shuffle.key), encode_record(record), number);
}

// ---- own map outputs -----------------------------------------------------------------------------------------------

void ShuffleTable::add_local(Shuffle& shuffle, MapOutput output) {
  const MapId map = output.map;
  shuffle.partition_count = std::max(shuffle.partition_count, output.partition_count);
  shuffle.last_number = std::max(shuffle.last_number, output.commit);
  bytes_[shuffle.key.app] += output.total_bytes;
  by_path_[output.data_path] = {shuffle.key, map};
  by_path_[output.index_path] = {shuffle.key, map};
  Local& local = shuffle.local[map];
  local.news = add_news({News::Kind::kCommitted, shuffle.key, map, false});
  local.output = std::make_shared<const MapOutput>(std::move(output));
}

MapOutputRef ShuffleTable::end_local(Shuffle& shuffle, MapId map, bool files_remain) {
  const auto it = shuffle.local.find(map);
  if (it == shuffle.local.end()) return nullptr;
  let_go(it->second);
  if (it->second.lost) --lost_;
  MapOutputRef output = std::move(it->second.output);
  news_.erase(it->second.news);
  shuffle.local.erase(it);
  by_path_.erase(output->data_path);
  by_path_.erase(output->index_path);
  const auto bytes = bytes_.find(shuffle.key.app);
  if (bytes != bytes_.end() && (bytes->second -= output->total_bytes) == 0) bytes_.erase(bytes);
  if (files_remain) keep_remains(shuffle, *output);
  return output;
}

void ShuffleTable::keep_remains(Shuffle& shuffle, const MapOutput& output) {
  shuffle.remains[output.index_path] = {output};
  remains_[output.index_path] = shuffle.key;
}

bool ShuffleTable::forget_remains(const std::string& index_path) {
  const auto place = remains_.find(index_path);
  if (place == remains_.end()) return false;
  Shuffle& of = shuffle(place->second);
  const auto it = of.remains.find(index_path);
  record(of, FilesGoneRecord{it->second.output.commit}, 0);
  of.remains.erase(it);
  remains_.erase(place);
  return true;
}

// Ends an own map output, if there is one, and leaves a tombstone.
MapOutputRef ShuffleTable::bury(Shuffle& shuffle, MapId map, bool files_remain) {
  MapOutputRef output = end_local(shuffle, map, files_remain);
  if (!output) return nullptr;
  Tombstones& own = shuffle.ended[self_tag_];
  own.origin = self_;
  own.maps[map] = output->commit;
  uint64_t& news = shuffle.ended_news[map];
  news_.erase(news);
  news = add_news({News::Kind::kEnded, shuffle.key, map, false});
  shuffle.last_number = std::max(shuffle.last_number, output->commit);
  record(shuffle, EndedRecord{map, output->commit, files_remain}, 0);
  return output;
}

// With the last own map output its tombstones become one range. Of what the first scan found an
// earlier table may have known another commit, so its tombstone goes on to name the map output.
void ShuffleTable::collapse(Shuffle& shuffle) {
  Tombstones& own = shuffle.ended[self_tag_];
  own.origin = self_;
  if (!shuffle.local.empty() || begun_ == 0) return;
  uint64_t last = 0;
  std::erase_if(own.maps, [&](const auto& entry) {
    mu_.assert_held();
    const auto& [map, commit] = entry;
    if (commit < begun_) return false;
    last = std::max(last, commit);
    if (const auto news = shuffle.ended_news.find(map); news != shuffle.ended_news.end()) {
      news_.erase(news->second);
      shuffle.ended_news.erase(news);
    }
    return true;
  });
  if (last == 0) return;
  own.ranges.add({begun_, last});
  news_.erase(shuffle.all_ended_news);
  shuffle.all_ended_news = add_news({News::Kind::kAllEnded, shuffle.key, {}, false});
}

void ShuffleTable::scanned() {
  uint64_t now = 0;
  {
    const MutexLock lock(mu_);
    if (begun_ != 0) return;
    now = clock_.tick();
  }
  if (!log_.write_begun(now)) return;  // the next start tries again
  const MutexLock lock(mu_);
  begun_ = now;
}

uint64_t ShuffleTable::drops_heard() const {
  const MutexLock lock(mu_);
  return drops_heard_;
}

bool ShuffleTable::was_dropped_since(const ShuffleKey& key, uint64_t drops) const {
  const auto is_later = [&](const TableLog::Name& name) {
    mu_.assert_held();
    const auto it = lives_.find(name);
    return it != lives_.end() && it->second.heard_as > drops;
  };
  return is_later({key.app, std::nullopt}) || is_later(log_name(key));
}

ShuffleTable::Committed ShuffleTable::committed(MapOutput output, BlockSizes sizes,
                                                std::optional<uint64_t> drops) {
  const MutexLock lock(mu_);
  Shuffle& of = shuffle(output.shuffle);
  Committed done;
  if (const auto remains = of.remains.find(output.index_path); remains != of.remains.end()) {
    if (remains->second.output.index_stamp == output.index_stamp) return done;
    forget_remains(output.index_path);
  }
  if (drops && was_dropped_since(output.shuffle, *drops)) {
    output.commit = clock_.tick();
    output.life = of.life - 1;  // an earlier one; nobody asks which
    record(of, CommittedRecord{output}, output.commit);
    keep_remains(of, output);
    return done;
  }
  const auto before = of.local.find(output.map);
  if (before != of.local.end()) {
    const MapOutput& known = *before->second.output;
    const bool same = known.data_path == output.data_path &&
                      known.data_stamp == output.data_stamp &&
                      known.index_stamp == output.index_stamp;
    if (same) return done;
    const bool elsewhere = known.index_path != output.index_path;
    done.replaced = bury(of, output.map, elsewhere);
  }
  output.commit = clock_.tick();
  output.life = of.life;
  record(of, CommittedRecord{output}, output.commit);
  const MapId map = output.map;
  add_local(of, std::move(output));
  Local& added = of.local[map];
  auto kept = std::make_shared<const BlockSizes>(std::move(sizes));
  if (held_bytes_ + kept->memory_bytes() <= max_held_bytes_) {
    held_bytes_ += kept->memory_bytes();
    added.sizes = std::move(kept);
  }
  done.output = added.output;
  return done;
}

MapOutputRef ShuffleTable::removed(const ShuffleKey& key, MapId map) {
  const MutexLock lock(mu_);
  Shuffle& of = shuffle(key);
  MapOutputRef output = bury(of, map, false);
  if (output) collapse(of);
  return output;
}

MapOutputRef ShuffleTable::file_removed(const std::string& path) {
  FileOf file;
  {
    const MutexLock lock(mu_);
    const auto it = by_path_.find(path);
    if (it == by_path_.end()) {
      forget_remains(path);
      return nullptr;
    }
    file = it->second;
  }
  return removed(file.shuffle, file.map);
}

std::vector<MapOutputRef> ShuffleTable::directory_left(const std::string& directory) {
  const MutexLock lock(mu_);
  const std::string below = directory + "/";
  std::vector<MapOutputRef> ended;
  for (const auto& [key, of] : shuffles_) {
    std::vector<MapId> maps;
    for (const auto& [map, local] : of->local) {
      if (local.output->index_path.starts_with(below) || local.output->data_path.starts_with(below))
        maps.push_back(map);
    }
    for (const MapId map : maps) ended.push_back(bury(*of, map, true));
    if (!maps.empty()) collapse(*of);
  }
  return ended;
}

void ShuffleTable::files_gone_below(const ShuffleKey& key, const std::string& directory) {
  const MutexLock lock(mu_);
  const auto of = shuffles_.find(key);
  if (of == shuffles_.end()) return;
  const std::string below = directory + "/";
  std::vector<std::string> gone;
  for (auto it = of->second->remains.lower_bound(below);
       it != of->second->remains.end() && it->first.starts_with(below); ++it)
    gone.push_back(it->first);
  for (const std::string& index_path : gone) forget_remains(index_path);
}

void ShuffleTable::lost(const MapOutput& output, const std::string& reason) {
  const MutexLock lock(mu_);
  Local* const known = local(output);
  if (known == nullptr || known->lost) return;
  known->lost = reason;
  ++lost_;
  log_limited(LogLevel::kError, "map.lost",
              {{"shuffle", to_string(output.shuffle)},
               {"map", number(output.map)},
               {"file", output.data_path},
               {"reason", reason}});
}

bool ShuffleTable::look_for_lost() {
  std::vector<MapOutputRef> lost;
  {
    const MutexLock lock(mu_);
    if (lost_ == 0) return false;
    for (const auto& [key, of] : shuffles_) {
      for (const auto& [map, local] : of->local) {
        if (local.lost) lost.push_back(local.output);
      }
    }
  }
  bool any = false;
  for (const MapOutputRef& output : lost) {
    if (!check_files(io_, *output) || !read_sizes(io_, *output)) continue;
    const MutexLock lock(mu_);
    Local* const found = local(*output);
    if (found == nullptr || !found->lost) continue;
    found->lost.reset();
    --lost_;
    // It may have been told of without its bits.
    news_.erase(found->news);
    found->news = add_news({News::Kind::kCommitted, output->shuffle, output->map, false});
    log_info("map.found", {{"shuffle", to_string(output->shuffle)}, {"map", number(output->map)}});
    any = true;
  }
  return any;
}

void ShuffleTable::refused(const ShuffleKey& key, std::string message) {
  const MutexLock lock(mu_);
  std::deque<std::string>& messages = shuffle(key).refused;
  messages.push_back(std::move(message));
  if (messages.size() > kRefusalsKept) messages.pop_front();
}

// ---- other nodes' map outputs --------------------------------------------------------------------------------------

bool ShuffleTable::is_ended(const Shuffle& shuffle, MapId map, const CommitId& id) {
  const auto of_origin = shuffle.ended.find(id.origin);
  if (of_origin == shuffle.ended.end()) return false;
  if (of_origin->second.ranges.contains(id.commit)) return true;
  const auto ended = of_origin->second.maps.find(map);
  return ended != of_origin->second.maps.end() && id.commit <= ended->second;
}

bool ShuffleTable::add_remote(Shuffle& shuffle, const NodeName& origin,
                              const AnnouncedMap& announced) {
  if (is_ended(shuffle, announced.map, {announced.commit, tag_of(origin)})) return false;
  auto at =
      static_cast<uint32_t>(std::ranges::find(shuffle.origins, origin) - shuffle.origins.begin());
  if (at == shuffle.origins.size()) shuffle.origins.push_back(origin);
  auto [place, end] = shuffle.remote.equal_range(announced.map);
  while (place != end && place->second.origin != at) ++place;
  if (place == end) place = shuffle.remote.emplace(announced.map, Remote{at, 0, 0, {}});
  Remote& remote = place->second;
  if (announced.commit < remote.commit) return false;  // late news
  std::vector<PartitionBits> ranges = announced.ranges;
  bool is_news =
      announced.commit != remote.commit || announced.partition_count != remote.partition_count;
  if (announced.commit == remote.commit) {
    // Told again, as the members have changed: what it was told of before is still right.
    // An origin that has lost the map output tells of it without any.
    const std::size_t max = std::max(remote.ranges.size(), kMaxRangesKept * (ranges.size() + 1));
    is_news = std::ranges::any_of(ranges, [&](const PartitionBits& range) {
      return std::ranges::find(remote.ranges, range) == remote.ranges.end();
    });
    for (PartitionBits& old : remote.ranges) {
      const bool is_covered = std::ranges::any_of(ranges, [&](const PartitionBits& range) {
        return range.first <= old.first && old.first + old.count <= range.first + range.count;
      });
      if (!is_covered && ranges.size() < max) ranges.push_back(std::move(old));
    }
  }
  remote.commit = announced.commit;
  remote.partition_count = announced.partition_count;
  remote.ranges = std::move(ranges);
  shuffle.partition_count = std::max(shuffle.partition_count, announced.partition_count);
  shuffle.last_number = std::max(shuffle.last_number, announced.commit);
  return is_news;
}

bool ShuffleTable::end_remote(Shuffle& shuffle, const NodeName& origin,
                              const std::vector<CommitRange>& ranges,
                              const std::vector<EndedMaps::Ended>& maps) {
  Tombstones& tombstones = shuffle.ended[tag_of(origin)];
  tombstones.origin = origin;
  bool is_news = false;
  for (const CommitRange& range : ranges) is_news = tombstones.ranges.add(range) || is_news;
  for (const EndedMaps::Ended& ended : maps) {
    if (tombstones.ranges.contains(ended.commit)) continue;
    uint64_t& known = tombstones.maps[ended.map];
    is_news = is_news || ended.commit > known;
    known = std::max(known, ended.commit);
  }
  std::erase_if(tombstones.maps,
                [&](const auto& entry) { return tombstones.ranges.contains(entry.second); });
  std::erase_if(shuffle.remote, [&](const auto& entry) {
    return shuffle.origins[entry.second.origin] == origin &&
           is_ended(shuffle, entry.first, {entry.second.commit, tag_of(origin)});
  });
  return is_news;
}

bool ShuffleTable::announced(const NodeName& origin, const AnnouncedMap& announced) {
  clock_.observe(std::max(announced.commit, announced.life));
  const MutexLock lock(mu_);
  Shuffle& of = shuffle(announced.shuffle);
  if (announced.life < of.life) return false;
  if (add_remote(of, origin, announced))
    record(of, HeardRecord{origin, announced}, announced.commit);
  return true;
}

// Not written down: the index of the partition is, before the push is answered.
void ShuffleTable::pushed(const ShuffleKey& key, const NodeName& origin, MapId map,
                          const CommitId& id) {
  clock_.observe(id.commit);
  const MutexLock lock(mu_);
  if (id.origin != tag_of(origin) || id.origin == self_tag_) return;
  Shuffle& of = shuffle(key);
  const auto [first, last] = of.remote.equal_range(map);
  for (auto it = first; it != last; ++it) {
    if (of.origins[it->second.origin] == origin && it->second.commit >= id.commit) return;
  }
  AnnouncedMap known{key, map, id.commit, of.life, 0, {}, {}};
  if (!add_remote(of, origin, known)) return;
  for (auto [it, end] = of.remote.equal_range(map); it != end; ++it) {
    if (of.origins[it->second.origin] == origin) it->second.partition_count = kMaxPartitions;
  }
}

bool ShuffleTable::ended(const NodeName& origin, const EndedMaps& ended) {
  clock_.observe(ended.life);
  for (const CommitRange& range : ended.ranges) clock_.observe(range.last);
  const MutexLock lock(mu_);
  Shuffle& of = shuffle(ended.shuffle);
  if (ended.life < of.life) return false;
  if (end_remote(of, origin, ended.ranges, ended.maps))
    record(of, EndedAtRecord{origin, ended.ranges, ended.maps}, 0);
  return true;
}

void ShuffleTable::told_whole_by(const NodeName& origin) {
  const MutexLock lock(mu_);
  if (heard_.insert(origin).second) heard_is_unwritten_ = true;
}

void ShuffleTable::set_down(std::set<NodeName> down) {
  const MutexLock lock(mu_);
  if (down == down_) return;
  down_ = std::move(down);
  heard_is_unwritten_ = true;
}

Status ShuffleTable::flush() {
  const MutexLock flushing(flushing_);
  // Those of now: what others tell from here on may not be in the log before the next flush.
  std::optional<std::string> names;
  {
    const MutexLock lock(mu_);
    if (std::exchange(heard_is_unwritten_, false)) {
      names.emplace();
      for (const NodeName& name : heard_) {
        if (down_.contains(name)) *names += name.str() + "\n";
      }
    }
  }
  Status written = log_.flush();
  if (!names) return written;
  if (written) written = replace_file(io_, heard_path_, std::as_bytes(std::span(*names)));
  if (written) return ok();
  const MutexLock lock(mu_);
  heard_is_unwritten_ = true;
  return written;
}

// ---- drops ---------------------------------------------------------------------------------------------------------

std::vector<MapOutputRef> ShuffleTable::begin_life(Shuffle& shuffle, uint64_t life) {
  std::vector<MapOutputRef> ended;
  if (life <= shuffle.life) return ended;
  shuffle.life = life;
  shuffle.last_number = std::max(shuffle.last_number, life);
  while (!shuffle.local.empty())
    ended.push_back(end_local(shuffle, shuffle.local.begin()->first, true));
  // Whatever was told of the earlier life is refused by its number from now on.
  shuffle.remote.clear();
  shuffle.origins.clear();
  shuffle.ended.clear();
  for (const auto& [map, news] : shuffle.ended_news) news_.erase(news);
  shuffle.ended_news.clear();
  news_.erase(std::exchange(shuffle.all_ended_news, 0));
  shuffle.refused.clear();
  shuffle.partition_count = 0;
  return ended;
}

std::vector<MapOutputRef> ShuffleTable::dropped(const DroppedName& name) {
  clock_.observe(name.life);
  const MutexLock lock(mu_);
  const TableLog::Name log{name.app, name.shuffle};
  Life& life = lives_[log];
  if (name.life <= life.life) return {};
  news_.erase(life.news);
  life.life = name.life;
  life.heard_as = ++drops_heard_;
  life.news = add_news(
      {News::Kind::kDropped, {name.app, name.shuffle.value_or(ShuffleId{})}, {}, !name.shuffle});
  log_.append(log, encode_record(LifeRecord{name.life}), name.life);
  std::vector<MapOutputRef> ended;
  const auto end_of = [&](Shuffle& of) {
    mu_.assert_held();
    if (!name.shuffle && of.life < name.life) record(of, LifeRecord{name.life}, name.life);
    for (MapOutputRef& output : begin_life(of, name.life)) ended.push_back(std::move(output));
  };
  if (name.shuffle) {
    if (const auto it = shuffles_.find({name.app, *name.shuffle}); it != shuffles_.end())
      end_of(*it->second);
    return ended;
  }
  for (auto it = shuffles_.lower_bound({name.app, ShuffleId{}});
       it != shuffles_.end() && it->first.app == name.app; ++it)
    end_of(*it->second);
  return ended;
}

// ---- how far the own map outputs are -------------------------------------------------------------------------------

ShuffleTable::Local* ShuffleTable::local(const MapOutput& output) {
  const auto of = shuffles_.find(output.shuffle);
  if (of == shuffles_.end()) return nullptr;
  const auto it = of->second->local.find(output.map);
  if (it == of->second->local.end() || it->second.output->commit != output.commit) return nullptr;
  return &it->second;
}

void ShuffleTable::let_go(Local& local) {
  if (!local.sizes) return;
  held_bytes_ -= local.sizes->memory_bytes();
  local.sizes.reset();
}

void ShuffleTable::planned(const MapOutput& output, uint64_t chunks, uint64_t blocks_left_home,
                           uint64_t bytes_left_home) {
  const MutexLock lock(mu_);
  Local* const known = local(output);
  if (known == nullptr) return;
  known->is_planned = true;
  known->is_unpushed = false;
  known->chunks_open = chunks;
  known->blocks_left_home = blocks_left_home;
  known->bytes_left_home = bytes_left_home;
  known->given_up.reset();
  if (known->news <= told_) let_go(*known);
}

void ShuffleTable::chunks_added(const MapOutput& output, uint64_t chunks) {
  const MutexLock lock(mu_);
  if (Local* const known = local(output)) known->chunks_open += chunks;
}

void ShuffleTable::unpushed(const MapOutput& output) {
  const MutexLock lock(mu_);
  Local* const known = local(output);
  if (known == nullptr) return;
  known->is_planned = true;
  known->is_unpushed = true;
  if (known->news <= told_) let_go(*known);
}

void ShuffleTable::chunk_merged(const MapOutput& output) {
  const MutexLock lock(mu_);
  Local* const known = local(output);
  if (known != nullptr && known->chunks_open > 0) --known->chunks_open;
}

void ShuffleTable::chunk_given_up(const MapOutput& output, const std::string& reason,
                                  uint64_t blocks, uint64_t bytes) {
  const MutexLock lock(mu_);
  Local* const known = local(output);
  if (known == nullptr) return;
  if (known->chunks_open > 0) --known->chunks_open;
  if (!known->given_up) known->given_up = std::make_unique<std::map<std::string, GivenUp>>();
  GivenUp& given_up = (*known->given_up)[reason];
  given_up.reason = reason;
  ++given_up.chunks;
  given_up.blocks += blocks;
  given_up.bytes += bytes;
}

void ShuffleTable::told(uint64_t number) {
  const MutexLock lock(mu_);
  for (auto it = news_.upper_bound(told_); it != news_.end() && it->first <= number; ++it) {
    if (it->second.kind != News::Kind::kCommitted) continue;
    const auto of = shuffles_.find(it->second.shuffle);
    if (of == shuffles_.end()) continue;
    const auto known = of->second->local.find(it->second.map);
    if (known != of->second->local.end() && known->second.is_planned) let_go(known->second);
  }
  told_ = std::max(told_, number);
}

BlockSizesRef ShuffleTable::sizes_of(const MapOutput& output) const {
  const MutexLock lock(mu_);
  const Local* const known = local(output);
  return known != nullptr ? known->sizes : nullptr;
}

}  // namespace shufflefs::merge
