#include "merge/spark_apps.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "merge/spark_files.h"

namespace shufflefs::merge {

Task<Status> SparkApps::register_executor(ExecutorRecord record, bool exclusive) {
  auto added =
      co_await offload(parts_.runtime, [this, &record, exclusive]() -> Result<Executors::Added> {
        record.registered_ms =
            static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                      parts_.runtime.wall_clock().time_since_epoch())
                                      .count());
        auto registered = parts_.executors.add(record, exclusive);
        if (registered && registered->replaced) leave_directories(*registered);
        return registered;
      });
  if (!added) co_return added.error();
  const Executor& executor = *added->executor;
  log_info("executor.registered", {{"app", executor.app.str()},
                                   {"executor", executor.id},
                                   {"directories", executor.directories.size()},
                                   {"first", executor.directories.front().registered}});
  if (parts_.registered) parts_.registered(executor);
  for (const LocalDir& directory : executor.directories) {
    // What lies outside the mount is served, but is not ours to merge.
    if (parts_.executors.rules().is_disk(directory.root))
      parts_.commits.application_named(parts_.executors.rules().backing(directory));
  }
  co_return ok();
}

// Another attempt of the application: what the executor of that name wrote before is not its own.
void SparkApps::leave_directories(const Executors::Added& added) {
  const LocalDirs& rules = parts_.executors.rules();
  for (const LocalDir& before : added.replaced->directories) {
    const std::string path = rules.backing(before);
    const bool stays = std::ranges::any_of(added.executor->directories, [&](const LocalDir& now) {
      return rules.backing(now) == path;
    });
    if (!stays && rules.is_disk(before.root)) parts_.commits.directory_left(path);
  }
}

Status SparkApps::check_committed(const ShuffleKey& shuffle, MapId map,
                                  const std::string& data_path, const FileStamp& data,
                                  const FileStamp& index) {
  const MapOutputRef known = parts_.table != nullptr ? parts_.table->find(shuffle, map) : nullptr;
  // What another executor wrote for the same map, or what is not committed (yet), may be anything.
  if (!known || known->data_path != data_path) return ok();
  if (known->data_stamp == data && known->index_stamp == index) return ok();
  const Error changed = make_error(
      Code::kCorruptData, fmt::format("{} was changed after it was committed",
                                      known->data_stamp == data ? known->index_path : data_path));
  parts_.table->lost(*known, changed.message);
  return changed;
}

bool SparkApps::remove_file(const Executor& executor, const std::string& name) {
  const LocalDirs& rules = parts_.executors.rules();
  const SparkPlace place = spark_place(name, executor.directories.size(), executor.sub_directories);
  const LocalDir& directory = executor.directories[place.directory];
  const std::string path = rules.backing(directory) + "/" + spark_path_below(place, name);
  if (!parts_.io.stat(path)) return false;
  const bool ours = rules.is_disk(directory.root);
  const Status removed = ours ? parts_.trash.discard(path) : parts_.io.remove_file(path);
  if (!removed) {
    log_limited(LogLevel::kWarning, "executor.not_removed",
                {{"app", executor.app.str()},
                 {"executor", executor.id},
                 {"file", path},
                 {"reason", removed.error().message}});
    return false;
  }
  if (ours && parse_spark_name(name)) parts_.commits.spark_file_removed(path);
  return true;
}

Task<std::size_t> SparkApps::remove_files(ExecutorRef executor, std::vector<std::string> names) {
  co_return co_await offload(parts_.runtime, [this, &executor, &names] {
    std::vector<std::string> removed;
    const auto remove = [&](const std::string& name) {
      if (!remove_file(*executor, name)) return false;
      const SparkPlace place =
          spark_place(name, executor->directories.size(), executor->sub_directories);
      const LocalDir& directory = executor->directories[place.directory];
      if (parts_.executors.rules().is_disk(directory.root))
        removed.push_back(directory.registered + "/" + spark_path_below(place, name));
      return true;
    };
    std::size_t count = 0;
    for (const std::string& name : names) {
      if (!remove(name)) continue;
      ++count;
      for (const std::string& checksum : spark_checksum_names_of(name))
        (void)remove(checksum);  // Spark never asks for it
    }
    if (parts_.forget_names && !removed.empty()) parts_.forget_names(removed);
    return count;
  });
}

}  // namespace shufflefs::merge
