#include "merge/committer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/escape.h"
#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kMaxHalves = 100'000;
constexpr std::string_view kBeingScanned = "it is being scanned";

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

ParsedGenericName parse_generic_name(std::string_view name) {
  if (name.starts_with('.')) return {GenericName::kTemporary, {}};
  GenericName kind = GenericName::kDirectory;
  if (name.ends_with(".data")) {
    kind = GenericName::kData;
    name.remove_suffix(5);
  } else if (name.ends_with(".index")) {
    kind = GenericName::kIndex;
    name.remove_suffix(6);
  }
  const auto map = parse_map_id(name);
  if (!map) return {GenericName::kBad, {}};
  return {kind, *map};
}

Committer::Committer(Parts parts)
    : parts_(std::move(parts)),
      commits_(
          parts_.metrics.counter("shufflefs_commits_total", "Map outputs committed on this node.")),
      refusals_(parts_.metrics.counter("shufflefs_commits_refused_total", "Map outputs refused.")),
      index_reads_(parts_.metrics.counter("shufflefs_index_reads_total",
                                          "Indexes of map outputs read as a whole.")) {}

Status Committer::claim(const MapOutput& output) const {
  return parts_.owners != nullptr ? parts_.owners->claim(output.shuffle.app, output.owner) : ok();
}

bool Committer::commit(Inspected inspected, std::optional<uint64_t> drops) {
  const MapOutput& output = inspected.output;
  if (const Status claimed = claim(output); !claimed) {
    refuse(output.shuffle, fmt::format("map {}", number(output.map)), claimed.error());
    return false;
  }
  const auto done =
      parts_.table.committed(std::move(inspected.output), std::move(inspected.sizes), drops);
  if (!done.output) return false;
  log_debug("map.committed", {{"shuffle", to_string(done.output->shuffle)},
                              {"map", number(done.output->map)},
                              {"commit", done.output->commit},
                              {"bytes", done.output->total_bytes},
                              {"partitions", done.output->partition_count}});
  commits_.add();
  (void)parts_.table.flush();  // logged there, and written by the next one
  if (done.replaced) parts_.on_ended(done.replaced);
  parts_.on_committed(done.output);
  return true;
}

void Committer::refuse(const ShuffleKey& shuffle, const std::string& what, const Error& error) {
  refusals_.add();
  log_limited(LogLevel::kWarning, "commit.refused",
              {{"shuffle", to_string(shuffle)},
               {"what", what},
               {"errno", error.sys_errno},
               {"reason", error.message}});
  parts_.table.refused(shuffle, printable(what + ": " + error.message));
}

void Committer::ended(const MapOutputRef& output) {
  if (!output) return;
  (void)parts_.table.flush();  // logged there, and written by the next one
  parts_.on_ended(output);
}

// ---- Spark's files under local/ -----------------------------------------------------------------------------------

Result<std::optional<AppId>> Committer::application_of(const std::string& path) {
  for (std::string directory = parent_of(path); !directory.empty();
       directory = parent_of(directory)) {
    if (parts_.registered) {
      if (auto app = parts_.registered(directory)) return app;
    }
    const auto name = parts_.io.extended_attribute(directory, kAppAttribute);
    if (!name && name.error().code == Code::kIo) return name.error();
    if (name && *name) {
      auto app = AppId::parse(**name);
      if (app) return std::optional(std::move(*app));
      log_limited(LogLevel::kWarning, "commit.bad_application",
                  {{"directory", directory},
                   {"attribute", kAppAttribute},
                   {"reason", app.error().message}});
      break;
    }
    if (std::ranges::find(parts_.data_dirs, directory) != parts_.data_dirs.end()) break;
  }
  return std::optional<AppId>();
}

void Committer::look_at_spark_file(const std::string& path, std::optional<uint64_t> drops) {
  const auto name = parse_spark_name(name_of(path));
  if (!name) return;
  const Status looked = inspect_spark_file(path, *name, drops);
  const bool is_unread = !looked && looked.error().code == Code::kIo;
  if (is_unread) note_failure(path, looked.error());
  const MutexLock lock(unread_mu_);
  if (is_unread)
    unlooked_.insert_or_assign(path, name->shuffle);
  else
    unlooked_.erase(path);
}

Status Committer::inspect_spark_file(const std::string& path, const SparkName& name,
                                     std::optional<uint64_t> drops) {
  TRY_ASSIGN(const std::optional<AppId> app, application_of(path));
  if (!app) return ok();  // found again when the application is named
  const ShuffleKey shuffle{*app, name.shuffle};
  const MutexLock lock(spark_mu_);
  if (halves_.size() > kMaxHalves)
    halves_.clear();  // halves of crashed tasks; a scan would find real ones again
  const auto known = parts_.table.find(shuffle, name.map);
  if (known && (path == known->index_path || path == known->data_path)) {
    const auto now = parts_.io.stat(path);
    const FileStamp& committed = name.is_index ? known->index_stamp : known->data_stamp;
    if (now && now->stamp == committed) return ok();
    // Nobody has renamed it there while we looked: it was changed behind our back. Where nobody
    // tells us at once, a further file of the name is a rename that we have missed.
    const bool may_be_missed =
        parts_.has_unread_events && now && now->stamp.inode != committed.inode;
    if (!drops && !may_be_missed) {
      parts_.table.lost(*known, path + " was changed after it was committed");
      return ok();
    }
  }
  const auto [place, is_new] = halves_.try_emplace({shuffle, name.map});
  Halves& halves = place->second;
  (name.is_index ? halves.index_path : halves.data_path) = path;
  if (halves.index_path.empty())
    return ok();  // Spark renames the index first: it will be here, or this is not a commit
  // Without a data file the output is committed only if it is empty. Its name need not exist then.
  const std::string data_path =
      halves.data_path.empty() ? halves.index_path + ".no-data" : halves.data_path;
  index_reads_.add();
  auto inspected = inspect_files(parts_.io, shuffle, name.map, data_path, halves.index_path);
  if (!inspected && inspected.error().code == Code::kNotFound) return ok();
  if (!inspected) {
    // An index that does not fit to the data yet, of a map output that is written again.
    if (!known) refuse(shuffle, name_of(path), inspected.error());
    return inspected.error();
  }
  halves_.erase(place);
  commit(*std::move(inspected), drops);
  return ok();
}

void Committer::post_look(std::optional<ShuffleId> shuffle, std::function<void()> look) {
  {
    const MutexLock lock(unread_mu_);
    ++looks_[shuffle];
  }
  parts_.runtime.post_blocking([this, shuffle, look = std::move(look)] {
    look();
    const MutexLock lock(unread_mu_);
    if (--looks_[shuffle] == 0) looks_.erase(shuffle);
  });
}

void Committer::spark_file_appeared(std::string path, uint64_t drops) {
  const auto name = parse_spark_name(name_of(path));
  if (!name) return;
  post_look(name->shuffle,
            [this, path = std::move(path), drops] { look_at_spark_file(path, drops); });
}

void Committer::spark_file_removed(std::string path) {
  // A removal that was overtaken by a new file of the same name is none.
  const auto now = parts_.io.stat(path);
  if (now) return;
  if (now.error().code == Code::kNotFound) {
    const MutexLock lock(unread_mu_);
    unlooked_.erase(path);
  }
  ended(parts_.table.file_removed(path));
}

void Committer::spark_files_removed() {
  for (const MapOutputRef& output : parts_.table.all()) {
    for (const std::string& path : {output->index_path, output->data_path}) {
      if (parse_spark_name(name_of(path))) spark_file_removed(path);
    }
  }
}

void Committer::spark_events_lost(uint64_t drops) {
  post_look(std::nullopt, [this, drops] {
    spark_files_removed();
    for (const std::string& data_dir : parts_.data_dirs) scan_tree(data_dir + "/local", drops);
  });
}

void Committer::application_named(std::string directory) {
  post_look(std::nullopt,
            [this, directory = std::move(directory)] { scan_tree(directory, std::nullopt); });
}

void Committer::directory_left(std::string directory) {
  const auto outputs = parts_.table.directory_left(directory);
  if (outputs.empty()) return;
  log_info("executor.replaced", {{"directory", directory}, {"map_outputs", outputs.size()}});
  for (const MapOutputRef& output : outputs) ended(output);
}

void Committer::scan_tree(const std::string& directory, std::optional<uint64_t> drops) {
  for (const DirectoryEntry& entry : list_for_scan(directory)) {
    const std::string path = directory + "/" + entry.name;
    if (entry.is_directory)
      scan_tree(path, drops);
    else
      look_at_spark_file(path, drops);
  }
}

// ---- shuffles/<app>/<shuffle>/maps/ -------------------------------------------------------------------------------

// All generic outputs of a shuffle on one disk, so that a rename from the temporary name never
// crosses disks. The same disk for every build and library: the name decides.
std::string Committer::data_dir_of(const ShuffleKey& shuffle) const {
  uint64_t hash = number(shuffle.shuffle);
  for (const char c : shuffle.app.str()) hash = hash * 31 + static_cast<unsigned char>(c);
  return parts_.data_dirs[hash % parts_.data_dirs.size()];
}

std::string Committer::generic_path(const ShuffleKey& shuffle) const {
  return fmt::format("{}/maps/{}/{}", data_dir_of(shuffle), shuffle.app.str(),
                     life_directory(shuffle.shuffle, parts_.table.life_of(shuffle)));
}

std::string Committer::list_path(const ShuffleKey& shuffle, MapId map) const {
  return fmt::format("{}/lists/{}/{}/{}", data_dir_of(shuffle), shuffle.app.str(),
                     life_directory(shuffle.shuffle, parts_.table.life_of(shuffle)), number(map));
}

Result<std::string> Committer::generic_directory(const ShuffleKey& shuffle, bool create) {
  std::string path = generic_path(shuffle);
  const auto there = parts_.io.stat(path);
  if (there || !create) {
    if (!there) return there.error();
    return path;
  }
  TRY(parts_.io.make_directories(path));
  const auto owner =
      parts_.owners != nullptr ? parts_.owners->find(shuffle.app) : std::optional<FileOwner>();
  if (owner) {
    TRY(parts_.io.set_owner(path, owner->uid, owner->gid));
    TRY(parts_.io.set_mode(path, kOwnersDirectory));
  } else {
    TRY(parts_.io.set_mode(path, kSharedDirectory));
  }
  return path;
}

Status Committer::check_generic(const ShuffleKey& shuffle, const std::string& path,
                                std::string_view name) {
  const ParsedGenericName parsed = parse_generic_name(name);
  auto check = [&]() -> Status {
    if (parsed.kind == GenericName::kTemporary) return ok();
    if (parsed.kind == GenericName::kBad) {
      return make_error(
          Code::kInvalidArgument,
          fmt::format(
              "'{}' is not the name of a map output: use <mapId>, <mapId>.data, <mapId>.index, "
              "or a temporary name that starts with a dot",
              name));
    }
    if (parsed.kind == GenericName::kDirectory) {
      TRY_ASSIGN(const FileInfo info, parts_.io.stat(path));
      if (!info.is_directory)
        return make_error(Code::kInvalidArgument,
                          "a map output named by its id alone is a directory of partition files");
      TRY_ASSIGN(const Inspected found, inspect_directory(parts_.io, shuffle, parsed.map, path));
      return claim(found.output);
    }
    const std::string place = generic_path(shuffle);
    const bool is_index = parsed.kind == GenericName::kIndex;
    const std::string other =
        fmt::format("{}/{}.{}", place, number(parsed.map), is_index ? "data" : "index");
    const bool has_other = static_cast<bool>(parts_.io.stat(other));
    if (!is_index && !has_other) return ok();  // nothing to check it against yet
    const auto output = inspect_files(parts_.io, shuffle, parsed.map, is_index ? other : path,
                                      is_index ? path : other);
    if (output) return claim(output->output);
    if (output.error().code == Code::kNotFound && !has_other) return ok();
    return output.error();
  };
  const Status checked = check();
  if (checked) return ok();
  refuse(shuffle, std::string(name), checked.error());
  // Whatever is wrong with it, to the one who renames it is an invalid argument.
  return make_error(Code::kInvalidArgument, checked.error().message);
}

void Committer::generic_appeared(const ShuffleKey& shuffle, std::string name) {
  if (look_at_generic(shuffle, name) && parts_.wait_until_told) parts_.wait_until_told();
}

bool Committer::look_at_generic(const ShuffleKey& shuffle, const std::string& name) {
  const ParsedGenericName parsed = parse_generic_name(name);
  if (parsed.kind == GenericName::kTemporary || parsed.kind == GenericName::kBad) return false;
  const std::string base = fmt::format("{}/{}", generic_path(shuffle), number(parsed.map));
  const bool is_directory = parsed.kind == GenericName::kDirectory;
  if (const auto known = parts_.table.find(shuffle, parsed.map)) {
    // It is immutable, and a scan finds what is known as well.
    const Status same = check_stamps(parts_.io, *known);
    if (!same) parts_.table.lost(*known, same.error().message);
    return false;
  }
  index_reads_.add();
  auto inspected =
      is_directory ? inspect_directory(parts_.io, shuffle, parsed.map, base)
                   : inspect_files(parts_.io, shuffle, parsed.map, base + ".data", base + ".index");
  if (!inspected && inspected.error().code == Code::kNotFound)
    return false;  // its other half has still to come
  if (inspected && is_directory) {
    const Status listed = write_block_list(parts_.io, *inspected, list_path(shuffle, parsed.map));
    if (!listed) inspected = listed.error();
  }
  if (!inspected) {
    note_failure(base, inspected.error());
    refuse(shuffle, name, inspected.error());
    return false;
  }
  return commit(*std::move(inspected));
}

void Committer::generic_removed(const ShuffleKey& shuffle, std::string name) {
  const ParsedGenericName parsed = parse_generic_name(name);
  if (parsed.kind == GenericName::kTemporary || parsed.kind == GenericName::kBad) return;
  const MapOutputRef output = parts_.table.removed(shuffle, parsed.map);
  if (output && output->form == MapOutput::Form::kDirectory)
    (void)parts_.io.remove_file(output->index_path);  // nobody reads it any more
  ended(output);
}

bool Committer::is_committed(const ShuffleKey& shuffle, MapId map) const {
  return parts_.table.find(shuffle, map) != nullptr;
}

std::string life_directory(ShuffleId shuffle, uint64_t life) {
  return fmt::format("{}-{}", number(shuffle), life);
}

std::optional<std::pair<ShuffleId, uint64_t>> parse_life_directory(std::string_view name) {
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto shuffle = parse_shuffle_id(name.substr(0, dash));
  const auto life = parse_decimal(name.substr(dash + 1));
  if (!shuffle || !life) return std::nullopt;
  return std::pair(*shuffle, *life);
}

// A directory of one life of a shuffle's name.
struct LifePlace {
  ShuffleKey shuffle;
  uint64_t life = 0;
  std::string path;
};

namespace {

// What is below `kind` (maps, lists) of the data directories, as `list` sees them.
std::vector<LifePlace> places_below(
    const std::vector<std::string>& data_dirs, std::string_view kind,
    const std::function<std::vector<DirectoryEntry>(const std::string&)>& list) {
  std::vector<LifePlace> places;
  for (const std::string& data_dir : data_dirs) {
    const std::string root = fmt::format("{}/{}", data_dir, kind);
    for (const DirectoryEntry& entry : list(root)) {
      const auto app = AppId::parse(entry.name);
      if (!app) continue;
      for (const DirectoryEntry& shuffle : list(root + "/" + entry.name)) {
        const auto parsed = parse_life_directory(shuffle.name);
        if (parsed)
          places.push_back({{*app, parsed->first},
                            parsed->second,
                            fmt::format("{}/{}/{}", root, entry.name, shuffle.name)});
      }
    }
  }
  return places;
}

}  // namespace

std::vector<ShuffleKey> Committer::generic_shuffles() const {
  std::vector<ShuffleKey> keys;
  for (LifePlace& place : places_below(parts_.data_dirs, "maps", [this](const std::string& path) {
         auto entries = parts_.io.list(path);
         return entries ? std::move(*entries) : std::vector<DirectoryEntry>();
       })) {
    if (place.life == parts_.table.life_of(place.shuffle)) keys.push_back(std::move(place.shuffle));
  }
  return keys;
}

// ---- quotas ------------------------------------------------------------------------------------------------------

Status Committer::check_quota_of(const AppId& app) {
  if (!has_quotas()) return ok();
  const uint64_t used = parts_.table.bytes_of(app);
  if (used < parts_.app_quota) return ok();
  Error error =
      make_error(Code::kPermission,
                 fmt::format("application {} has {} of map outputs on this node, its quota is {}",
                             app.str(), format_bytes(used), format_bytes(parts_.app_quota)));
  error.sys_errno = EDQUOT;
  log_limited(LogLevel::kWarning, "app.over_quota",
              {{"app", app.str()}, {"bytes", used}, {"quota", parts_.app_quota}});
  return error;
}

Status Committer::check_quota(const std::string& path) {
  TRY_ASSIGN(const std::optional<AppId> app, application_of(path));
  return app ? check_quota_of(*app) : ok();
}

Status Committer::check_quota(const ShuffleKey& shuffle) { return check_quota_of(shuffle.app); }

// ---- all ---------------------------------------------------------------------------------------------------------

void Committer::note_failure(const std::string& path, const Error& error) {
  if (error.code != Code::kIo) return;
  const auto data_dir = std::ranges::find_if(parts_.data_dirs, [&](const std::string& directory) {
    return path.starts_with(directory + "/");
  });
  if (data_dir == parts_.data_dirs.end()) return;
  {
    const MutexLock lock(unread_mu_);
    unread_[*data_dir] = error.message;
  }
  log_limited(LogLevel::kWarning, "commit.disk_unreadable", {{"reason", error.message}});
}

bool Committer::is_looking(ShuffleId shuffle) const {
  if (parts_.has_unread_events && parts_.has_unread_events()) return true;
  const MutexLock lock(unread_mu_);
  return looks_.contains(shuffle) || looks_.contains(std::nullopt) ||
         std::ranges::any_of(unlooked_, [&](const auto& file) { return file.second == shuffle; });
}

uint64_t Committer::looks_under_way() const {
  uint64_t count = parts_.has_unread_events && parts_.has_unread_events() ? 1 : 0;
  const MutexLock lock(unread_mu_);
  for (const auto& [shuffle, looks] : looks_) count += looks;
  return count;
}

std::string Committer::incomplete() const {
  const MutexLock lock(unread_mu_);
  if (unread_.empty()) return {};
  return fmt::format("a disk could not be read, some map outputs may not be known: {}",
                     unread_.begin()->second);
}

std::vector<DirectoryEntry> Committer::list_for_scan(const std::string& directory) {
  auto entries = parts_.io.list(directory);
  if (entries) return std::move(*entries);
  note_failure(directory, entries.error());
  return {};
}

bool Committer::scan() {
  {
    // Until a disk has been read to its end nobody may think that all of it is known.
    const MutexLock lock(unread_mu_);
    for (const std::string& data_dir : parts_.data_dirs) unread_[data_dir] = kBeingScanned;
  }
  return scan_unread();
}

bool Committer::scan_unread() {
  std::map<std::string, std::string> unread;
  {
    const MutexLock lock(unread_mu_);
    for (auto& [data_dir, why] : unread_) why = kBeingScanned;
    unread = unread_;
  }
  std::map<std::string, std::vector<LifePlace>> maps;
  for (const auto& [data_dir, why] : unread)
    maps[data_dir] = places_below({data_dir}, "maps",
                                  [this](const std::string& at) { return list_for_scan(at); });
  for (const auto& [data_dir, places] : maps) learn_lives(places);
  for (const auto& [data_dir, places] : maps) scan_disk(data_dir, places);
  {
    const MutexLock lock(unread_mu_);
    if (!unread_.empty()) return false;
  }
  parts_.table.scanned();
  return true;
}

// The table may have been lost with its disk. A directory of a life was made after the drop that
// began that life.
void Committer::learn_lives(const std::vector<LifePlace>& maps) {
  for (const LifePlace& place : maps) {
    if (place.life <= parts_.table.life_of(place.shuffle)) continue;
    parts_.table.dropped({place.shuffle.app, place.shuffle.shuffle, place.life});
    (void)discard_dropped(place.shuffle);
  }
}

void Committer::scan_disk(const std::string& data_dir, const std::vector<LifePlace>& maps) {
  const auto list = [this](const std::string& directory) { return list_for_scan(directory); };
  // The disk was away when they were dropped.
  const auto is_over = [this](const LifePlace& place) {
    if (place.life >= parts_.table.life_of(place.shuffle)) return false;
    (void)parts_.trash.discard(place.path);
    return true;
  };
  for (const LifePlace& place : places_below({data_dir}, "lists", list)) (void)is_over(place);
  for (const LifePlace& place : maps) {
    if (is_over(place)) continue;
    for (const DirectoryEntry& entry : list(place.path)) {
      const ParsedGenericName parsed = parse_generic_name(entry.name);
      if (parsed.kind == GenericName::kDirectory || parsed.kind == GenericName::kIndex)
        look_at_generic(place.shuffle, entry.name);
    }
  }
  scan_tree(data_dir + "/local", std::nullopt);
  // A failure in between has put its reason in the place of this one.
  const MutexLock lock(unread_mu_);
  const auto it = unread_.find(data_dir);
  if (it == unread_.end() || it->second != kBeingScanned) return;
  unread_.erase(it);
  // What of it is gone by now was not come upon.
  std::erase_if(unlooked_,
                [&](const auto& file) { return file.first.starts_with(data_dir + "/"); });
}

Status Committer::discard_dropped(const ShuffleKey& shuffle) {
  const uint64_t life = parts_.table.life_of(shuffle);
  for (const char* kind : {"maps", "lists"}) {
    const std::string app = fmt::format("{}/{}/{}", data_dir_of(shuffle), kind, shuffle.app.str());
    const auto entries = parts_.io.list(app);
    if (!entries && entries.error().code == Code::kNotFound) continue;
    if (!entries) return entries.error();
    for (const DirectoryEntry& entry : *entries) {
      const auto parsed = parse_life_directory(entry.name);
      if (!parsed || parsed->first != shuffle.shuffle || parsed->second >= life) continue;
      const std::string place = app + "/" + entry.name;
      TRY(parts_.trash.discard(place));
      parts_.table.files_gone_below(shuffle, place);
    }
    (void)parts_.io.remove_empty_directory(app);  // fails while it has other shuffles
  }
  return ok();
}

}  // namespace shufflefs::merge
