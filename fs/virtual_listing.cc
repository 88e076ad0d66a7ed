// VirtualContents: what is in a directory.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/reactor_mark.h"
#include "fs/virtual_contents.h"
#include "merge/partition_sizes.h"

namespace shufflefs::fs {
namespace {

using merge::ShuffleKey;

template <class Ids>
std::vector<std::string> numbers(const Ids& ids) {
  std::vector<std::string> names;
  names.reserve(ids.size());
  for (const auto id : ids) names.push_back(std::to_string(merge::number(id)));
  return names;
}

std::vector<std::string> map_file_names(const std::vector<merge::MapId>& maps) {
  std::vector<std::string> names;
  names.reserve(maps.size() * 2);
  for (const merge::MapId map : maps) {
    names.push_back(fmt::format("{}.data", merge::number(map)));
    names.push_back(fmt::format("{}.index", merge::number(map)));
  }
  return names;
}

std::vector<std::string> app_names(const std::vector<ShuffleKey>& keys,
                                   const std::vector<merge::AppId>& more) {
  std::set<std::string> names;
  for (const ShuffleKey& key : keys) names.insert(key.app.str());
  for (const merge::AppId& app : more) names.insert(app.str());
  return {names.begin(), names.end()};
}

std::vector<std::string> shuffle_names(const std::vector<ShuffleKey>& keys, const merge::AppId& app,
                                       const std::vector<merge::ShuffleId>& more) {
  std::set<merge::ShuffleId> shuffles(more.begin(), more.end());
  for (const ShuffleKey& key : keys) {
    if (key.app == app) shuffles.insert(key.shuffle);
  }
  return numbers(shuffles);
}

}  // namespace

std::vector<std::string> VirtualContents::jar_names() const {
  std::vector<std::string> names;
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

std::optional<Result<Listing>> VirtualContents::listing_now(const VirtualNode& directory) {
  std::vector<std::string> names;
  switch (directory.kind) {
    case NodeKind::kRoot: names = {"local", "shuffles", ".shufflefs"}; break;
    case NodeKind::kLocal:
      for (std::size_t i = 0; i < engine_.disks(); ++i) names.push_back(fmt::format("disk{}", i));
      break;
    case NodeKind::kShuffle: names = {"maps", "partitions", "status"}; break;
    case NodeKind::kMaps: names = map_file_names(places_.spark_maps(directory.key())); break;
    case NodeKind::kInfo:
      for (const auto& [name, text] : texts_) names.push_back(name);
      names.insert(names.end(), {"client", "client-report", "owners"});
      break;
    case NodeKind::kClient: names = jar_names(); break;
    case NodeKind::kOwners: break;
    default: return std::nullopt;
  }
  return Listing(directory, std::move(names));
}

Task<Result<Listing>> VirtualContents::listing(VirtualNode directory) {
  switch (directory.kind) {
    case NodeKind::kShuffles: {
      const std::vector<ShuffleKey> keys = co_await engine_.catalog().shuffles();
      // While a disk hangs, without those that are empty.
      const auto here = co_await looks_.run([this] { return places_.apps(); });
      co_return Listing(directory, app_names(keys, here ? *here : std::vector<merge::AppId>()));
    }
    case NodeKind::kApp: {
      const std::vector<ShuffleKey> keys = co_await engine_.catalog().shuffles();
      const auto here =
          co_await looks_.run([this, app = directory.app] { return places_.shuffles(app); });
      co_return Listing(directory, shuffle_names(keys, directory.app,
                                                 here ? *here : std::vector<merge::ShuffleId>()));
    }
    case NodeKind::kPartitions: co_return co_await partition_listing(std::move(directory));
    default: co_return make_error(Code::kNotFound, path_of(directory) + " cannot be listed");
  }
}

Task<Listing> VirtualContents::partition_listing(VirtualNode directory) {
  const uint32_t count = co_await partition_count(directory.key());
  std::vector<std::string> names;
  if (count > merge::kMostListed && finder_) {
    for (const merge::PartitionId partition : co_await finder_(directory.key(), count)) {
      for (const char* suffix : {"", ".merged", ".index"})
        names.push_back(fmt::format("{}{}", merge::number(partition), suffix));
    }
  }
  const uint32_t numbered = names.empty() ? count : 0;  // made as they are read
  co_return Listing(std::move(directory), std::move(names), numbered);
}

}  // namespace shufflefs::fs
