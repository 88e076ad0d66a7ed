#include "merge/local_dirs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <span>

#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kLongestPath = 4096;

bool is_plain(std::string_view path) {
  if (path.size() < 2 || path.size() > kLongestPath || path.front() != '/') return false;
  if (path.find('\0') != std::string_view::npos) return false;
  const auto parts = split(path.substr(1), '/');
  return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
    return part.empty() || part == "." || part == "..";
  });
}

// What follows `above` and a slash.
std::optional<std::string_view> below(std::string_view path, std::string_view above) {
  if (path.size() <= above.size() + 1 || !path.starts_with(above) || path[above.size()] != '/')
    return std::nullopt;
  return path.substr(above.size() + 1);
}

}  // namespace

LocalDirs::LocalDirs(std::vector<std::string> mounts, std::vector<std::string> disks,
                     std::vector<std::string> allowed)
    : mounts_(std::move(mounts)), roots_(std::move(disks)), disks_(roots_.size()) {
  roots_.insert(roots_.end(), allowed.begin(), allowed.end());
}

Result<LocalDir> LocalDirs::translate(std::string_view registered) const {
  while (registered.size() > 1 && registered.ends_with('/')) registered.remove_suffix(1);
  if (!is_plain(registered)) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("the local directory '{}' is not an absolute path without '.', "
                                  "'..' and empty parts",
                                  registered.substr(0, 200)));
  }
  for (const std::string& mount : mounts_) {
    const auto rest = below(registered, mount + "/local");
    if (!rest) continue;
    const std::size_t slash = rest->find('/');
    const std::string_view disk = rest->substr(0, slash);
    const auto number = disk.starts_with("disk") && disks_ > 0
                            ? parse_decimal(disk.substr(4), disks_ - 1)
                            : std::nullopt;
    if (!number || slash == std::string_view::npos || slash + 1 == rest->size()) {
      return make_error(Code::kPermission,
                        fmt::format("the local directory {} is not below {}/local/disk<i> with i "
                                    "from 0 to {}",
                                    registered, mount, disks_ - 1));
    }
    return LocalDir{std::string(registered), *number, std::string(rest->substr(slash + 1))};
  }
  for (std::size_t root = disks_; root < roots_.size(); ++root) {
    if (const auto rest = below(registered, roots_[root]))
      return LocalDir{std::string(registered), root, std::string(*rest)};
  }
  return make_error(
      Code::kPermission,
      fmt::format(
          "the local directory {} is neither below the mount ({}/local/disk<i>) nor below "
          "an allowed directory ({}): set SPARK_LOCAL_DIRS or spark.local.dir to the mount, "
          "or start shufflefs with --spark-allow-dir",
          registered, fmt::join(mounts_, ", "),
          roots_.size() == disks_
              ? "none"
              : fmt::format("{}", fmt::join(std::span(roots_).subspan(disks_), ", "))));
}

std::string LocalDirs::backing(const LocalDir& directory) const {
  return roots_.at(directory.root) + "/" + directory.below;
}

}  // namespace shufflefs::merge
