#include "fs/commit_watch.h"

#include <optional>

#include "base/log.h"

namespace shufflefs::fs {
namespace {

bool is_map_output(std::string_view name) {
  return name.starts_with("shuffle_") && merge::parse_spark_name(name).has_value();
}

std::optional<std::string> path_of(const NameInTree& name) {
  auto path = name.backing_path();
  if (path) return std::move(*path);
  log_limited(LogLevel::kWarning, "commit.path_unknown",
              {{"name", name.name},
               {"reason", path.error().message},
               {"consequence", "found at the next scan"}});
  return std::nullopt;
}

}  // namespace

void CommitWatch::appeared(const NameInTree& name) {
  if (auto path = path_of(name)) sink_.spark_file_appeared(std::move(*path));
}

void CommitWatch::removed(const NameInTree& name) {
  if (auto path = path_of(name)) sink_.spark_file_removed(std::move(*path));
}

Status CommitWatch::before_change(const NameInTree& target) {
  if (!sink_.has_quotas()) return ok();
  const auto path = path_of(target);
  return path ? sink_.check_quota(*path) : ok();
}

void CommitWatch::after_rename(const NameInTree& from, const NameInTree& to) {
  if (is_map_output(from.name)) removed(from);
  if (is_map_output(to.name)) appeared(to);
}

void CommitWatch::after_link(const NameInTree& to) {
  if (is_map_output(to.name)) appeared(to);
}

void CommitWatch::after_remove(const NameInTree& target, bool was_directory) {
  if (!was_directory && is_map_output(target.name)) removed(target);
}

void CommitWatch::after_write_close(const std::string& path) {
  if (is_map_output(std::string_view(path).substr(path.rfind('/') + 1)))
    sink_.spark_file_appeared(path);
}

void CommitWatch::after_attribute(const std::string& path, std::string_view attribute) {
  if (attribute == merge::kAppAttribute) sink_.application_named(path);
}

}  // namespace shufflefs::fs
