#include "merge/committer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kRefusalsKept = 8;
constexpr std::size_t kShufflesWithRefusals = 1000;
constexpr std::size_t kMostHalves = 100'000;

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
      commits_(parts_.metrics.counter("shufflefs_commits_total",
                                      "Map outputs recognised as committed on this node.")),
      refusals_(parts_.metrics.counter("shufflefs_commits_refused_total",
                                       "Map outputs that were not accepted.")) {}

Status Committer::claim(const MapOutput& output) const {
  return parts_.owners != nullptr ? parts_.owners->claim(output.shuffle.app, output.owner) : ok();
}

void Committer::commit(MapOutput output) {
  if (const Status claimed = claim(output); !claimed)
    return refuse(output.shuffle, fmt::format("map {}", number(output.map)), claimed.error());
  output.epoch = parts_.epochs.of(output.shuffle);
  output.commit = static_cast<uint64_t>(parts_.runtime.wall_clock().time_since_epoch() /
                                        std::chrono::microseconds(1));
  const ShuffleKey shuffle = output.shuffle;
  const MapId map = output.map;
  log_debug("map.committed", {{"shuffle", to_string(shuffle)},
                              {"map", number(map)},
                              {"bytes", output.total_bytes},
                              {"partitions", output.partition_count}});
  if (!parts_.maps.add(std::move(output))) return;
  commits_.add();
  parts_.on_committed(shuffle, map);
}

void Committer::refuse(const ShuffleKey& shuffle, const std::string& what, const Error& error) {
  refusals_.add();
  log_limited(LogLevel::kWarning, "commit.refused",
              {{"shuffle", to_string(shuffle)},
               {"what", what},
               {"errno", error.sys_errno},
               {"reason", error.message}});
  const std::lock_guard lock(refused_mu_);
  if (refused_.size() >= kShufflesWithRefusals && !refused_.contains(shuffle)) return;
  std::deque<std::string>& messages = refused_[shuffle];
  messages.push_back(what + ": " + error.message);
  if (messages.size() > kRefusalsKept) messages.pop_front();
}

std::vector<std::string> Committer::refused(const ShuffleKey& shuffle) const {
  const std::lock_guard lock(refused_mu_);
  const auto it = refused_.find(shuffle);
  if (it == refused_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

void Committer::removed(const std::optional<MapOutput>& output) const {
  if (output) parts_.on_removed(*output);
}

// ---- Spark's files under local/ -----------------------------------------------------------------------------------

std::optional<AppId> Committer::application_of(const std::string& path) {
  for (std::string directory = parent_of(path); !directory.empty();
       directory = parent_of(directory)) {
    if (parts_.registered) {
      if (auto app = parts_.registered(directory)) return app;
    }
    const auto name = parts_.io.extended_attribute(directory, kAppAttribute);
    if (!name) note_failure(name.error());
    if (name && *name) {
      auto app = AppId::parse(**name);
      if (app) return std::move(*app);
      log_limited(LogLevel::kWarning, "commit.bad_application",
                  {{"directory", directory},
                   {"attribute", kAppAttribute},
                   {"reason", app.error().message}});
      return std::nullopt;
    }
    if (std::ranges::find(parts_.data_dirs, directory) != parts_.data_dirs.end()) break;
  }
  return std::nullopt;
}

void Committer::look_at_spark_file(const std::string& path, bool during_scan) {
  const auto name = parse_spark_name(name_of(path));
  if (!name) return;
  const auto app = application_of(path);
  if (!app) return;  // found again when the application is named
  const ShuffleKey shuffle{*app, name->shuffle};
  const std::lock_guard lock(spark_mu_);
  if (parts_.maps.find(shuffle, name->map)) return;
  if (halves_.size() > kMostHalves)
    halves_.clear();  // halves of crashed tasks; a scan would find real ones again
  Halves& halves = halves_[{shuffle, name->map}];
  (name->is_index ? halves.index_path : halves.data_path) = path;
  if (halves.index_path.empty())
    return;  // Spark renames the index first: it will be here, or this is not a commit
  // Without a data file the output is committed only if it is empty. Its name need not exist then.
  const std::string data_path =
      halves.data_path.empty() ? halves.index_path + ".no-data" : halves.data_path;
  auto output = inspect_files(parts_.io, shuffle, name->map, data_path, halves.index_path);
  if (!output && output.error().code == Code::kNotFound) return;
  if (!output) {
    note_failure(output.error());
    refuse(shuffle, name_of(path), output.error());
    return;
  }
  if (during_scan) {
    // What was there before the shuffle was dropped stays dropped: the files are Spark's, so they
    // are not ours to remove.
    const auto info = parts_.io.stat(halves.index_path);
    if (info && info->modified_ms < parts_.epochs.of(shuffle)) return;
  }
  halves_.erase({shuffle, name->map});
  commit(std::move(*output));
}

void Committer::post_look(std::function<void()> look) {
  ++looks_under_way_;
  parts_.runtime.post_blocking([this, look = std::move(look)] {
    look();
    --looks_under_way_;
  });
}

void Committer::spark_file_appeared(std::string path) {
  post_look([this, path = std::move(path)] { look_at_spark_file(path, false); });
}

void Committer::spark_file_removed(std::string path) {
  parts_.runtime.post_blocking([this, path = std::move(path)] {
    const std::lock_guard lock(spark_mu_);
    // A removal that was overtaken by a new file of the same name is none.
    if (!parts_.io.stat(path)) removed(parts_.maps.remove_by_path(path));
  });
}

void Committer::application_named(std::string directory) {
  post_look([this, directory = std::move(directory)] { scan_tree(directory); });
}

void Committer::scan_tree(const std::string& directory) {
  for (const DirectoryEntry& entry : list_for_scan(directory)) {
    const std::string path = directory + "/" + entry.name;
    if (entry.is_directory)
      scan_tree(path);
    else
      look_at_spark_file(path, true);
  }
}

// ---- shuffles/<app>/<shuffle>/maps/ -------------------------------------------------------------------------------

std::string Committer::generic_path(const ShuffleKey& shuffle) const {
  // All generic outputs of a shuffle on one disk, so that a rename from the temporary name never
  // crosses disks.
  const std::size_t disk = std::hash<ShuffleKey>{}(shuffle) % parts_.data_dirs.size();
  return fmt::format("{}/maps/{}/{}", parts_.data_dirs[disk], shuffle.app.str(),
                     number(shuffle.shuffle));
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
      TRY_ASSIGN(const MapOutput output, inspect_directory(parts_.io, shuffle, parsed.map, path));
      return claim(output);
    }
    const std::string place = generic_path(shuffle);
    const bool is_index = parsed.kind == GenericName::kIndex;
    const std::string other =
        fmt::format("{}/{}.{}", place, number(parsed.map), is_index ? "data" : "index");
    const bool has_other = static_cast<bool>(parts_.io.stat(other));
    if (!is_index && !has_other) return ok();  // nothing to check it against yet
    const auto output = inspect_files(parts_.io, shuffle, parsed.map, is_index ? other : path,
                                      is_index ? path : other);
    if (output) return claim(*output);
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
  const ParsedGenericName parsed = parse_generic_name(name);
  if (parsed.kind == GenericName::kTemporary || parsed.kind == GenericName::kBad) return;
  const std::string base = fmt::format("{}/{}", generic_path(shuffle), number(parsed.map));
  auto output =
      parsed.kind == GenericName::kDirectory
          ? inspect_directory(parts_.io, shuffle, parsed.map, base)
          : inspect_files(parts_.io, shuffle, parsed.map, base + ".data", base + ".index");
  if (!output && output.error().code == Code::kNotFound)
    return;  // its other half has still to come
  if (!output) note_failure(output.error());
  if (!output)
    refuse(shuffle, name, output.error());
  else
    commit(std::move(*output));
}

void Committer::generic_removed(const ShuffleKey& shuffle, std::string name) {
  const ParsedGenericName parsed = parse_generic_name(name);
  if (parsed.kind != GenericName::kTemporary && parsed.kind != GenericName::kBad)
    removed(parts_.maps.remove(shuffle, parsed.map));
}

bool Committer::is_committed(const ShuffleKey& shuffle, MapId map) const {
  return parts_.maps.find(shuffle, map).has_value();
}

namespace {

// What is below maps/ of the data directories, as `list` sees them.
std::vector<ShuffleKey> shuffles_below(
    const std::vector<std::string>& data_dirs,
    const std::function<std::vector<DirectoryEntry>(const std::string&)>& list) {
  std::vector<ShuffleKey> keys;
  for (const std::string& data_dir : data_dirs) {
    for (const DirectoryEntry& app : list(data_dir + "/maps")) {
      for (const DirectoryEntry& shuffle : list(fmt::format("{}/maps/{}", data_dir, app.name))) {
        const auto key = parse_shuffle_key(app.name + "/" + shuffle.name);
        if (key) keys.push_back(*key);
      }
    }
  }
  return keys;
}

}  // namespace

std::vector<ShuffleKey> Committer::generic_shuffles() const {
  return shuffles_below(parts_.data_dirs, [this](const std::string& path) {
    auto entries = parts_.io.list(path);
    return entries ? std::move(*entries) : std::vector<DirectoryEntry>();
  });
}

// ---- quotas ------------------------------------------------------------------------------------------------------

Status Committer::check_quota_of(const AppId& app) {
  if (!has_quotas()) return ok();
  const uint64_t used = parts_.maps.bytes_of(app);
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
  const auto app = application_of(path);
  return app ? check_quota_of(*app) : ok();
}

Status Committer::check_quota(const ShuffleKey& shuffle) { return check_quota_of(shuffle.app); }

// ---- all ---------------------------------------------------------------------------------------------------------

void Committer::note_failure(const Error& error) {
  if (error.code != Code::kIo) return;
  complete_ = false;
  log_limited(LogLevel::kWarning, "commit.disk_unreadable", {{"reason", error.message}});
}

std::vector<DirectoryEntry> Committer::list_for_scan(const std::string& directory) {
  auto entries = parts_.io.list(directory);
  if (entries) return std::move(*entries);
  note_failure(entries.error());
  return {};
}

bool Committer::scan() {
  complete_ = true;
  const auto list = [this](const std::string& path) { return list_for_scan(path); };
  for (const ShuffleKey& shuffle : shuffles_below(parts_.data_dirs, list)) {
    for (const DirectoryEntry& entry : list_for_scan(generic_path(shuffle))) {
      const ParsedGenericName parsed = parse_generic_name(entry.name);
      if (parsed.kind == GenericName::kDirectory || parsed.kind == GenericName::kIndex)
        generic_appeared(shuffle, entry.name);
    }
  }
  for (const std::string& data_dir : parts_.data_dirs) scan_tree(data_dir + "/local");
  return complete_;
}

Status Committer::drop(const ShuffleKey& shuffle) {
  {
    const std::lock_guard lock(refused_mu_);
    refused_.erase(shuffle);
  }
  for (const MapOutput& output : parts_.maps.of(shuffle))
    removed(parts_.maps.remove(shuffle, output.map));
  const std::string place = generic_path(shuffle);
  TRY(parts_.trash.discard(place));
  (void)parts_.io.remove_empty_directory(
      parent_of(place));  // fails while the application has other shuffles
  return ok();
}

}  // namespace shufflefs::merge
