#include "fs/virtual_contents.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/check.h"
#include "base/escape.h"
#include "fs/shuffle_texts.h"
#include "merge/partition_sizes.h"

namespace shufflefs::fs {
namespace {

using merge::ShuffleKey;

// Above it an index is not made into a snapshot in memory: 2 million map outputs.
constexpr uint64_t kMaxTextBytes = 64U << 20U;

Error missing(const VirtualPath& path) {
  return make_error(Code::kNotFound, "there is no " + path_of(path));
}

VirtualPath of_shuffle(PathKind kind, const ShuffleKey& key) {
  VirtualPath path;
  path.kind = kind;
  path.app = key.app;
  path.shuffle = key.shuffle;
  return path;
}

Facts facts_of_size(uint64_t bytes) {
  Facts facts;
  facts.size = bytes;
  return facts;
}

Facts facts_of_plan(const merge::PartitionPlan& plan) {
  Facts facts = facts_of_size(plan.bytes);
  const auto add = [&facts](std::string_view name, std::string value) {
    facts.attributes.emplace_back(name, std::move(value));
  };
  if (plan.owner) add(kOwnerAttribute, plan.owner->str());
  add(kMapsAttribute, std::to_string(plan.maps));
  add(kMergedAttribute, std::to_string(plan.maps_merged));
  add(kBytesAttribute, std::to_string(plan.bytes));
  return facts;
}

// What may be with a node that does not answer is there: its reads say what is missing.
bool exists(const merge::PartitionPlan& plan) {
  return plan.known || plan.incomplete || !plan.blocks.empty();
}

Result<OpenedFile> open_text(std::string text, const VirtualPath& path) {
  if (text.size() > kMaxTextBytes) {
    return Error{Code::kTooLarge, EFBIG,
                 fmt::format("{} has {} bytes, at most {} are shown", path_of(path), text.size(),
                             kMaxTextBytes)};
  }
  return OpenedFile{std::make_shared<VirtualFile>(std::move(text))};
}

}  // namespace

// ---- RecentFacts

std::optional<Facts> RecentFacts::find(const std::string& path, Clock::time_point now) const {
  const MutexLock lock(mu_);
  const auto it = entries_.find(path);
  if (it == entries_.end() || now - it->second.learnt >= kFresh) return std::nullopt;
  return it->second.facts;
}

void RecentFacts::put(const std::string& path, Facts facts, Clock::time_point now) {
  if (facts.text && facts.text->size() > kTextBytes) facts.text.reset();
  const MutexLock lock(mu_);
  if (entries_.size() >= kCapacity && !entries_.contains(path)) make_room(now);
  entries_.insert_or_assign(path, Entry{std::move(facts), now});
}

void RecentFacts::make_room(Clock::time_point now) {
  std::erase_if(entries_, [now](const auto& entry) { return now - entry.second.learnt >= kFresh; });
  if (entries_.size() >= kCapacity) entries_.clear();
}

void RecentFacts::forget_below(std::string_view directory) {
  const MutexLock lock(mu_);
  auto it = entries_.lower_bound(directory);
  while (it != entries_.end() && it->first.starts_with(directory)) {
    const bool below = it->first.size() == directory.size() || it->first[directory.size()] == '/';
    it = below ? entries_.erase(it) : std::next(it);
  }
}

std::size_t RecentFacts::size() const {
  const MutexLock lock(mu_);
  return entries_.size();
}

// ---- whether a path is there, and how large

std::optional<Result<Facts>> VirtualContents::facts_now(const VirtualPath& path) {
  const PathRow& row = row_of(path.kind);
  if (row.look != nullptr) return (this->*row.look)(path);
  if (row.learn != nullptr || row.text != nullptr) return std::nullopt;
  return Facts{};
}

Task<Result<Facts>> VirtualContents::facts(VirtualPath path) {
  if (auto known = recent_facts(path)) co_return std::move(*known);
  const std::string name = path_of(path);
  const uint64_t life = life_of(path);
  auto learnt = co_await learn(std::move(path));
  if (learnt) {
    learnt->life = life;
    recent_.put(name, *learnt);
  }
  co_return learnt;
}

Task<Result<Facts>> VirtualContents::learn(VirtualPath path) {
  const PathRow& row = row_of(path.kind);
  if (row.learn != nullptr) co_return co_await (this->*row.learn)(std::move(path));
  if (row.text == nullptr) co_return missing(path);
  CO_TRY_ASSIGN(std::string text, co_await (this->*row.text)(std::move(path)));
  Facts facts = facts_of_size(text.size());
  facts.text = std::make_shared<const std::string>(std::move(text));
  co_return facts;
}

uint64_t VirtualContents::life_of(const VirtualPath& path) const {
  // The count never falls but by a drop.
  const uint32_t known =
      is_within(path.kind, PathKind::kShuffle) ? engine_.known_partition_count(path.key()) : 0;
  return (uint64_t{drops_.load()} << 32U) | known;
}

std::optional<Facts> VirtualContents::recent_facts(const VirtualPath& path) const {
  auto known = recent_.find(path_of(path));
  if (known && known->life != life_of(path)) known.reset();
  return known;
}

void VirtualContents::dropped(const merge::AppId& app) {
  ++drops_;
  recent_.forget_below("shuffles/" + app.str());
}

Task<void> VirtualContents::close() {
  co_await checks_.close();
  co_await looks_.close();
}

VirtualContents::Look VirtualContents::look_for_disk(const VirtualPath& path) {
  if (path.disk < engine_.disks()) return Facts{};
  return missing(path);
}

VirtualContents::Look VirtualContents::look_for_app(const VirtualPath& path) {
  if (places_.has_app(path.app) && places_.knows_owner_of(path.app)) return Facts{};
  return std::nullopt;
}

VirtualContents::Look VirtualContents::look_for_shuffle(const VirtualPath& path) {
  if (places_.has_shuffle(path.key())) return Facts{};
  return std::nullopt;
}

VirtualContents::Look VirtualContents::look_for_map_file(const VirtualPath& path) {
  const auto output = places_.spark_map(path.key(), path.map);
  if (!output) return missing(path);
  return facts_of_size(path.kind == PathKind::kMapData
                           ? output->total_bytes
                           : (uint64_t{output->partition_count} + 1) * sizeof(uint64_t));
}

VirtualContents::Look VirtualContents::look_for_jar(const VirtualPath& path) {
  struct stat attr{};
  const std::string file = client_dir_ + "/" + path.word;
  on_disk_wait(file);
  if (client_dir_.empty() || ::stat(file.c_str(), &attr) != 0 || !S_ISREG(attr.st_mode))
    return missing(path);
  return facts_of_size(static_cast<uint64_t>(attr.st_size));
}

// Of an application, or of maps/ of a shuffle: what any node has.
Task<Result<Facts>> VirtualContents::learn_if_known(VirtualPath path) {
  const std::vector<ShuffleKey> keys = co_await engine_.catalog().shuffles();
  const bool is_app = path.kind == PathKind::kApp;
  const bool exists = std::ranges::any_of(keys, [&](const ShuffleKey& key) {
    return key.app == path.app && (is_app || key.shuffle == path.shuffle);
  });
  struct Here {
    bool has_app = false;
    bool knows_owner = false;
  };
  // A writer waits for the disk: whoever makes the directory next needs it.
  const Here here = co_await offload(engine_.runtime(), [this, &path] {
    return Here{places_.has_app(path.app), places_.knows_owner_of(path.app)};
  });
  if (!exists && !(is_app && here.has_app)) co_return missing(path);
  if (!here.knows_owner) {
    for (const ShuffleKey& key : keys) {
      if (key.app != path.app) continue;
      const merge::ShuffleTotals totals = co_await engine_.catalog().totals(key);
      for (const merge::FileOwner owner : totals.owners) engine_.owners().heard(key.app, owner);
      if (!totals.owners.empty()) break;
    }
  }
  co_return Facts{};
}

Task<Result<Facts>> VirtualContents::learn_shuffle(VirtualPath path) {
  const merge::ShuffleTotals totals = co_await engine_.catalog().totals(path.key());
  const bool is_known = totals.known || co_await offload(engine_.runtime(), [this, &path] {
                          return places_.has_shuffle(path.key());
                        });
  // Made by mkdir on another node and still empty: only the listings know it.
  if (!is_known) CO_TRY(co_await learn_if_known(of_shuffle(PathKind::kMaps, path.key())));
  Facts facts;
  facts.attributes.emplace_back(kMapsAttribute, std::to_string(totals.sum.maps));
  facts.attributes.emplace_back(kMergedAttribute, std::to_string(totals.sum.maps_settled));
  facts.attributes.emplace_back(kPartitionsAttribute, std::to_string(totals.sum.partition_count));
  co_return facts;
}

Task<uint32_t> VirtualContents::partition_count(ShuffleKey key) {
  const VirtualPath directory = of_shuffle(PathKind::kPartitions, key);
  Facts facts;
  facts.life = life_of(directory);
  facts.partitions = co_await engine_.catalog().partition_count(std::move(key));
  recent_.put(path_of(directory), facts);
  co_return facts.partitions;
}

// A remembered count is good enough to say yes: it falls only by a drop. It is not good enough to
// say no.
Task<bool> VirtualContents::has_partition(ShuffleKey key, merge::PartitionId partition) {
  const uint32_t number = merge::number(partition);
  // What this node knows itself costs no question.
  if (number < engine_.known_partition_count(key)) co_return true;
  const auto known = recent_facts(of_shuffle(PathKind::kPartitions, key));
  if (known && number < known->partitions) co_return true;
  co_return number < co_await partition_count(std::move(key));
}

Task<Result<Facts>> VirtualContents::learn_partition(VirtualPath path) {
  if (!co_await has_partition(path.key(), path.partition)) co_return missing(path);
  merge::Catalog& catalog = engine_.catalog();
  if (path.kind == PathKind::kPartition)
    co_return facts_of_plan(co_await catalog.plan(path.key(), path.partition));
  const merge::PartitionPlan plan = co_await catalog.merged_plan(path.key(), path.partition);
  co_return facts_of_size(path.kind == PathKind::kMerged ? plan.bytes
                                                         : merge::render_index_view(plan).size());
}

// ---- texts

Task<Result<std::string>> VirtualContents::status_text(VirtualPath path) {
  co_return printable_lines(co_await fs::status_text(engine_, path.key()));
}

Task<Result<std::string>> VirtualContents::owners_text(VirtualPath path) {
  co_return fs::owners_text(engine_, path.key(), merge::number(path.partition) + 1);
}

Task<Result<std::string>> VirtualContents::info_text(VirtualPath path) {
  const auto it = texts_.find(path.word);
  if (it == texts_.end()) co_return missing(path);
  co_return co_await it->second();
}

// ---- directories

std::optional<Result<Listing>> VirtualContents::listing_now(const VirtualPath& directory) {
  const PathRow& row = row_of(directory.kind);
  if (row.list != nullptr) return std::nullopt;
  Names names;
  if (row.names != nullptr) names = (this->*row.names)(directory);
  for (const PathRow& below : path_rows()) {
    if (below.parent == directory.kind && below.field == nullptr && !below.prefix.empty())
      names.emplace_back(below.prefix);
  }
  return Listing(directory, std::move(names));
}

Task<Result<Listing>> VirtualContents::listing(VirtualPath directory) {
  const PathRow& row = row_of(directory.kind);
  if (row.list != nullptr) co_return co_await (this->*row.list)(std::move(directory));
  co_return make_error(Code::kNotFound, path_of(directory) + " cannot be listed");
}

VirtualContents::Names VirtualContents::disk_names(const VirtualPath& /*directory*/) {
  Names names;
  for (std::size_t i = 0; i < engine_.disks(); ++i) names.push_back(fmt::format("disk{}", i));
  return names;
}

VirtualContents::Names VirtualContents::map_names(const VirtualPath& directory) {
  Names names;
  for (const merge::MapId map : places_.spark_maps(directory.key())) {
    names.push_back(fmt::format("{}.data", merge::number(map)));
    names.push_back(fmt::format("{}.index", merge::number(map)));
  }
  return names;
}

VirtualContents::Names VirtualContents::info_names(const VirtualPath& /*directory*/) {
  Names names;
  for (const auto& [name, text] : texts_) names.push_back(name);
  return names;
}

VirtualContents::Names VirtualContents::jar_names(const VirtualPath& /*directory*/) {
  Names names;
  std::error_code failed;
  on_disk_wait(client_dir_);
  for (std::filesystem::directory_iterator it(client_dir_, failed), end; !failed && it != end;
       it.increment(failed)) {
    std::string name = it->path().filename().string();
    if (!name.starts_with('.') && it->is_regular_file(failed)) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

Task<Result<Listing>> VirtualContents::list_apps(VirtualPath directory) {
  std::set<std::string> names;
  for (const ShuffleKey& key : co_await engine_.catalog().shuffles()) names.insert(key.app.str());
  // While a disk hangs, without those that are empty.
  if (const auto here = co_await looks_.run([this] { return places_.apps(); }))
    for (const merge::AppId& app : *here) names.insert(app.str());
  co_return Listing(std::move(directory), Names(names.begin(), names.end()));
}

Task<Result<Listing>> VirtualContents::list_shuffles(VirtualPath directory) {
  std::set<merge::ShuffleId> shuffles;
  for (const ShuffleKey& key : co_await engine_.catalog().shuffles())
    if (key.app == directory.app) shuffles.insert(key.shuffle);
  if (const auto here =
          co_await looks_.run([this, app = directory.app] { return places_.shuffles(app); }))
    shuffles.insert(here->begin(), here->end());
  Names names;
  for (const merge::ShuffleId shuffle : shuffles)
    names.push_back(std::to_string(merge::number(shuffle)));
  co_return Listing(std::move(directory), std::move(names));
}

Task<Result<Listing>> VirtualContents::list_partitions(VirtualPath directory) {
  const uint32_t count = co_await partition_count(directory.key());
  Names names;
  if (count > merge::kMostListed && finder_) {
    for (const merge::PartitionId partition : co_await finder_(directory.key(), count)) {
      for (const char* suffix : {"", ".merged", ".index"})
        names.push_back(fmt::format("{}{}", merge::number(partition), suffix));
    }
  }
  const uint32_t numbered = names.empty() ? count : 0;  // made as they are read
  co_return Listing(std::move(directory), std::move(names), numbered);
}

// ---- what an open gives

Task<Result<OpenedFile>> VirtualContents::open(VirtualPath path) {
  const PathRow& row = row_of(path.kind);
  if (row.open != nullptr) co_return co_await (this->*row.open)(std::move(path));
  if (row.text == nullptr)
    co_return Error{Code::kInternal, EISDIR, path_of(path) + " is a directory"};
  // The text that a stat has just measured, if it was a moment ago: tar and cp compare.
  CO_TRY_ASSIGN(const Facts known, co_await facts(path));
  if (known.text) co_return open_text(*known.text, path);
  CO_TRY_ASSIGN(std::string text, co_await (this->*row.text)(path));
  co_return open_text(std::move(text), path);
}

Task<Result<OpenedFile>> VirtualContents::open_partition(VirtualPath path) {
  merge::PartitionPlan plan =
      co_await engine_.catalog().plan_for_reading(path.key(), path.partition);
  if (!exists(plan)) co_return missing(path);
  co_return co_await open_plan(std::move(plan), true);
}

Task<Result<OpenedFile>> VirtualContents::open_merged(VirtualPath path) {
  merge::PartitionPlan plan = co_await engine_.catalog().merged_plan(path.key(), path.partition);
  if (!exists(plan)) co_return missing(path);
  co_return co_await open_plan(std::move(plan), false);
}

Task<Result<OpenedFile>> VirtualContents::open_index(VirtualPath path) {
  const merge::PartitionPlan plan =
      co_await engine_.catalog().merged_plan(path.key(), path.partition);
  if (!exists(plan)) co_return missing(path);
  const std::vector<std::byte> bytes = merge::render_index_view(plan);
  co_return open_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

// `checks`: by us. Who reads <p>.merged compares it with the checksums of <p>.index.
Task<Result<OpenedFile>> VirtualContents::open_plan(merge::PartitionPlan plan, bool checks) {
  OpenedFile opened;
  if (plan.bytes > 0 && !plan.incomplete && plan.whole_at == cluster_.self()) {
    opened.whole = co_await offload(engine_.runtime(), [this, &plan] {
      return engine_.seal_for_passthrough(plan.shuffle, plan.partition, plan.bytes);
    });
    if (opened.whole && checks)
      opened.whole = co_await checks_.checked(std::move(*opened.whole), plan);
  }
  opened.file = std::make_shared<VirtualFile>(std::make_shared<CheckedStream>(
      engine_.runtime(), engine_.open_stream(std::move(plan)), checks));
  co_return opened;
}

Result<std::shared_ptr<VirtualFile>> VirtualContents::open_on_disk(const std::string& path,
                                                                   uint64_t bytes,
                                                                   int flags) const {
  on_disk_wait(path);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (!fd) return errno_error("cannot open " + path);
  return std::make_shared<VirtualFile>(std::move(fd), bytes);
}

Task<Result<OpenedFile>> VirtualContents::open_map_file(VirtualPath path) {
  co_return co_await offload(engine_.runtime(), [this, &path]() -> Result<OpenedFile> {
    TRY_ASSIGN(const Facts facts, *look_for_map_file(path));
    const auto output = places_.spark_map(path.key(), path.map);
    if (!output) return missing(path);
    // Spark writes no data file where there are no bytes.
    if (facts.size == 0) return open_text("", path);
    TRY_ASSIGN(auto file, open_on_disk(path.kind == PathKind::kMapData ? output->data_path
                                                                       : output->index_path,
                                       facts.size, O_NOFOLLOW));
    return OpenedFile{std::move(file)};
  });
}

Task<Result<OpenedFile>> VirtualContents::open_jar(VirtualPath path) {
  co_return co_await offload(engine_.runtime(), [this, &path]() -> Result<OpenedFile> {
    TRY_ASSIGN(const Facts facts, *look_for_jar(path));
    TRY_ASSIGN(auto file, open_on_disk(client_dir_ + "/" + path.word, facts.size, O_NONBLOCK));
    return OpenedFile{std::move(file)};
  });
}

Task<Result<OpenedFile>> VirtualContents::open_report(VirtualPath path) {
  co_return open_text("", path);
}

}  // namespace shufflefs::fs
