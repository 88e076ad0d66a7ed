// How the table comes back after a restart; the contract is in merge/shuffle_table.h.
#include <algorithm>

#include "base/log.h"
#include "base/parse.h"
#include "merge/shuffle_table.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kMaxNames = 20'000;         // with or without anything left
constexpr uint64_t kWorthRewriting = 64U << 10U;  // bytes of a log

TableLog::Name log_name(const ShuffleKey& key) { return {key.app, key.shuffle}; }

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

void ShuffleTable::replay(const TableLog::Name& name, TableRecord record) {
  if (const auto* life = std::get_if<LifeRecord>(&record)) {
    clock_.observe(life->life);
    Life& known = lives_[name];
    known.life = std::max(known.life, life->life);
    if (name.shuffle) begin_life(replayed({name.app, *name.shuffle}), life->life);
    return;
  }
  if (name.shuffle) replay_into(replayed({name.app, *name.shuffle}), std::move(record));
}

// In the life that its own file is in: that of the application may be read before it or behind it.
ShuffleTable::Shuffle& ShuffleTable::replayed(const ShuffleKey& key) {
  std::unique_ptr<Shuffle>& place = shuffles_[key];
  if (!place) {
    place = std::make_unique<Shuffle>();
    place->key = key;
  }
  return *place;
}

void ShuffleTable::replay_into(Shuffle& of, TableRecord record) {
  std::visit(
      Overloaded{
          [&](CommittedRecord& committed) {
            mu_.assert_held();
            MapOutput& output = committed.output;
            clock_.observe(std::max(output.commit, output.life));
            output.shuffle = of.key;
            if (of.remains.erase(output.index_path) > 0) remains_.erase(output.index_path);
            if (output.life < of.life || is_ended(of, output.map, {output.commit, self_tag_}))
              return keep_remains(of, output);
            end_local(of, output.map, false);
            add_local(of, std::move(output));
          },
          [&](EndedRecord& ended) {
            mu_.assert_held();
            end_local(of, ended.map, ended.files_remain);
            Tombstones& own = of.ended[self_tag_];
            own.origin = self_;
            own.maps[ended.map] = std::max(own.maps[ended.map], ended.commit);
          },
          [&](FilesGoneRecord& gone) {
            mu_.assert_held();
            std::erase_if(of.remains, [&](const auto& entry) {
              mu_.assert_held();
              if (entry.second.output.commit != gone.commit) return false;
              remains_.erase(entry.first);
              return true;
            });
          },
          [&](HeardRecord& heard) {
            mu_.assert_held();
            clock_.observe(std::max(heard.announced.commit, heard.announced.life));
            if (heard.announced.life >= of.life) add_remote(of, heard.origin, heard.announced);
          },
          [&](EndedAtRecord& ended) {
            mu_.assert_held();
            for (const CommitRange& range : ended.ranges) clock_.observe(range.last);
            end_remote(of, ended.origin, ended.ranges, ended.maps);
          },
          [](LifeRecord&) {},
      },
      record);
}

std::vector<TableLog::Bytes> ShuffleTable::snapshot(const Shuffle& of) const {
  std::vector<TableLog::Bytes> records;
  if (of.life > 0) records.push_back(encode_record(LifeRecord{of.life}));
  for (const auto& [tag, tombstones] : of.ended) {
    EndedAtRecord ended{tombstones.origin, tombstones.ranges.list(), {}};
    for (const auto& [map, commit] : tombstones.maps) ended.maps.push_back({map, commit});
    if (!ended.ranges.empty() || !ended.maps.empty()) records.push_back(encode_record(ended));
  }
  // Over by what comes before them: their life, or a tombstone.
  for (const auto& [path, committed] : of.remains) records.push_back(encode_record(committed));
  for (const auto& [map, local] : of.local)
    records.push_back(encode_record(CommittedRecord{*local.output}));
  for (const auto& [map, remote] : of.remote) {
    HeardRecord heard{of.origins[remote.origin], {}};
    heard.announced.map = map;
    heard.announced.commit = remote.commit;
    heard.announced.life = of.life;
    heard.announced.partition_count = remote.partition_count;
    heard.announced.ranges = remote.ranges;
    records.push_back(encode_record(heard));
  }
  return records;
}

// Who has told everything is worth something only together with what was told.
Status ShuffleTable::load_heard() {
  const auto bytes = read_file(io_, heard_path_, 16U << 20U);
  if (!bytes && bytes.error().code == Code::kNotFound) return ok();
  if (!bytes) return bytes.error();
  const MutexLock lock(mu_);
  for (const std::string_view line :
       split({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, '\n')) {
    if (auto name = NodeName::parse(line)) heard_.insert(*std::move(name));
  }
  down_ = heard_;  // until somebody says otherwise
  return ok();
}

Status ShuffleTable::load_begun() {
  TRY_ASSIGN(const std::optional<uint64_t> begun, log_.begun());
  const MutexLock lock(mu_);
  begun_ = begun.value_or(0);
  return ok();
}

Status ShuffleTable::load() {
  TRY(load_heard());
  TRY(load_begun());
  std::vector<MapOutputRef> own;
  std::vector<std::string> remains;
  {
    const MutexLock lock(mu_);
    uint64_t bad = 0;
    TRY(log_.load([&](const TableLog::Name& name, std::span<const std::byte> bytes) {
      mu_.assert_held();
      auto record = decode_record(bytes);
      if (record)
        replay(name, *std::move(record));
      else
        ++bad;
    }));
    if (bad > 0) log_warning("table.bad_records", {{"records", bad}});
    // What a drop of the whole application says need not be said of each of its shuffles.
    std::erase_if(lives_, [this](const auto& entry) {
      mu_.assert_held();
      if (!entry.first.shuffle) return false;
      const auto of_app = lives_.find({entry.first.app, std::nullopt});
      return of_app != lives_.end() && of_app->second.life >= entry.second.life;
    });
    for (auto& [name, life] : lives_) {
      life.news = add_news({News::Kind::kDropped,
                            {name.app, name.shuffle.value_or(ShuffleId{})},
                            {},
                            !name.shuffle});
    }
    for (const auto& [key, of] : shuffles_) {
      // A drop of the whole application is in a file of its own, and is written first.
      begin_life(*of, life_locked(key));
      const auto ended = of->ended.find(self_tag_);
      if (ended != of->ended.end()) {
        for (const auto& [map, commit] : ended->second.maps)
          of->ended_news[map] = add_news({News::Kind::kEnded, key, map, false});
        if (!ended->second.ranges.empty())
          of->all_ended_news = add_news({News::Kind::kAllEnded, key, {}, false});
        collapse(*of);
      }
      for (const auto& [map, local] : of->local) own.push_back(local.output);
      for (const auto& [path, committed] : of->remains) remains.push_back(path);
    }
  }
  for (const MapOutputRef& output : own) {
    const Status same = check_stamps(io_, *output);
    if (!same) lost(*output, same.error().message);
  }
  for (const std::string& index_path : remains) {
    const auto there = io_.stat(index_path);
    if (there || there.error().code != Code::kNotFound) continue;
    const MutexLock lock(mu_);
    forget_remains(index_path);
  }
  // Logs that say little in many bytes.
  std::vector<std::pair<TableLog::Name, std::vector<TableLog::Bytes>>> shorter;
  {
    const MutexLock lock(mu_);
    for (const auto& [key, of] : shuffles_) {
      const uint64_t now = log_.bytes(log_name(key));
      if (now < kWorthRewriting) continue;
      auto records = snapshot(*of);
      uint64_t bytes = 0;
      for (const TableLog::Bytes& one : records) bytes += one.size() + 8;
      if (bytes * 2 < now) shorter.emplace_back(log_name(key), std::move(records));
    }
  }
  for (const auto& [name, records] : shorter) TRY(log_.rewrite(name, records));
  return forget_old();
}

Status ShuffleTable::forget_old() {
  std::vector<TableLog::Name> gone;
  {
    const MutexLock lock(mu_);
    std::vector<std::pair<uint64_t, ShuffleKey>> idle;
    const std::size_t too_many = shuffles_.size() - std::min(shuffles_.size(), kMaxNames);
    for (const auto& [key, of] : shuffles_) {
      if (too_many > 0 && is_empty(*of) && of->remains.empty())
        idle.emplace_back(of->last_number, key);
    }
    std::ranges::sort(idle);
    idle.resize(std::min(idle.size(), too_many));
    for (const auto& [number, key] : idle) {
      Shuffle& of = *shuffles_.at(key);
      begin_life(of, UINT64_MAX);  // takes its news back
      if (const auto life = lives_.find(log_name(key)); life != lives_.end()) {
        news_.erase(life->second.news);
        lives_.erase(life);
      }
      shuffles_.erase(key);
      gone.push_back(log_name(key));
    }
    // The drops of names that nothing else is known of.
    std::vector<std::pair<uint64_t, TableLog::Name>> dropped;
    const std::size_t too_many_lives = lives_.size() - std::min(lives_.size(), kMaxNames);
    for (const auto& [name, life] : lives_) {
      const auto of = shuffles_.lower_bound({name.app, name.shuffle.value_or(ShuffleId{})});
      const bool is_known = of != shuffles_.end() && of->first.app == name.app &&
                            (!name.shuffle || of->first.shuffle == *name.shuffle);
      if (too_many_lives > 0 && !is_known) dropped.emplace_back(life.life, name);
    }
    std::ranges::sort(dropped);
    dropped.resize(std::min(dropped.size(), too_many_lives));
    for (const auto& [life, name] : dropped) {
      news_.erase(lives_.at(name).news);
      lives_.erase(name);
      gone.push_back(name);
    }
  }
  for (const TableLog::Name& name : gone) TRY(log_.remove(name));
  return ok();
}

}  // namespace shufflefs::merge
