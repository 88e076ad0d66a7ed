// Existence and facts. Listings and opens are in virtual_listing.cc and virtual_open.cc.
#include "fs/virtual_contents.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/escape.h"
#include "base/reactor_mark.h"

namespace shufflefs::fs {
namespace {

using merge::ShuffleKey;

constexpr const char* kOwnerAttribute = "user.shufflefs.owner";
constexpr const char* kMapsAttribute = "user.shufflefs.maps";
constexpr const char* kMergedAttribute = "user.shufflefs.merged";
constexpr const char* kBytesAttribute = "user.shufflefs.bytes";
constexpr const char* kPartitionsAttribute = "user.shufflefs.partitions";

VirtualNode partitions_of(const ShuffleKey& key) {
  VirtualNode node;
  node.kind = NodeKind::kPartitions;
  node.app = key.app;
  node.shuffle = key.shuffle;
  return node;
}

Facts facts_of_plan(const merge::PartitionPlan& plan) {
  Facts facts;
  facts.size = plan.bytes;
  if (plan.owner) facts.attributes.emplace_back(kOwnerAttribute, plan.owner->str());
  facts.attributes.emplace_back(kMapsAttribute, std::to_string(plan.maps));
  facts.attributes.emplace_back(kMergedAttribute, std::to_string(plan.maps_merged));
  facts.attributes.emplace_back(kBytesAttribute, std::to_string(plan.bytes));
  return facts;
}

}  // namespace

Error missing(const VirtualNode& node) {
  return make_error(Code::kNotFound, "there is no " + path_of(node));
}

std::vector<std::string> VirtualContents::attribute_names(NodeKind kind) {
  if (kind == NodeKind::kPartition)
    return {kOwnerAttribute, kMapsAttribute, kMergedAttribute, kBytesAttribute};
  if (kind == NodeKind::kShuffle) return {kMapsAttribute, kMergedAttribute, kPartitionsAttribute};
  return {};
}

std::optional<Result<Facts>> VirtualContents::facts_now(const VirtualNode& node) {
  switch (node.kind) {
    case NodeKind::kRoot:
    case NodeKind::kLocal:
    case NodeKind::kShuffles:
    case NodeKind::kInfo:
    case NodeKind::kClient:
    case NodeKind::kReport:
    case NodeKind::kOwners:
    case NodeKind::kPartitions: return Facts{};  // the kernel has just found its parent
    case NodeKind::kLocalDisk:
      if (node.disk < engine_.disks()) return Facts{};
      return missing(node);
    case NodeKind::kApp:
      if (places_.has_app(node.app) && places_.knows_owner_of(node.app)) return Facts{};
      return std::nullopt;
    case NodeKind::kShuffle:
    case NodeKind::kMaps:
      if (places_.has_shuffle(node.key())) return Facts{};
      return std::nullopt;
    case NodeKind::kMapFile: return map_file_facts(node);
    case NodeKind::kInfoFile:
      if (!texts_.contains(node.info)) return missing(node);
      return std::nullopt;
    case NodeKind::kJar: return jar_facts(node);
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex:
    case NodeKind::kStatus:
    case NodeKind::kOwnersOf: return std::nullopt;
  }
  return missing(node);
}

Result<Facts> VirtualContents::map_file_facts(const VirtualNode& node) {
  const auto output = places_.spark_map(node.key(), node.map);
  if (!output) return missing(node);
  Facts facts;
  facts.size = node.file == MapFile::kData
                   ? output->total_bytes
                   : (uint64_t{output->partition_count} + 1) * sizeof(uint64_t);
  return facts;
}

Result<Facts> VirtualContents::jar_facts(const VirtualNode& node) const {
  struct stat attr{};
  const std::string path = client_dir_ + "/" + node.info;
  on_disk_wait(path);
  if (client_dir_.empty() || ::stat(path.c_str(), &attr) != 0 || !S_ISREG(attr.st_mode))
    return missing(node);
  Facts facts;
  facts.size = static_cast<uint64_t>(attr.st_size);
  return facts;
}

Task<void> VirtualContents::close() {
  co_await gate_.close();
  co_await looks_.close();
}

void VirtualContents::dropped(const merge::AppId& app) {
  ++drops_;
  recent_.forget_below("shuffles/" + app.str());
}

uint64_t VirtualContents::life_of(const VirtualNode& node) const {
  const bool is_of_shuffle = node.kind >= NodeKind::kShuffle && node.kind <= NodeKind::kStatus;
  // The count never falls but by a drop.
  const uint32_t known = is_of_shuffle ? engine_.known_partition_count(node.key()) : 0;
  return (uint64_t{drops_.load()} << 32U) | known;
}

std::optional<Facts> VirtualContents::recent_facts(const VirtualNode& node) const {
  auto known = recent_.find(path_of(node));
  if (known && known->life != life_of(node)) known.reset();
  return known;
}

Task<Result<Facts>> VirtualContents::facts(VirtualNode node) {
  if (auto known = recent_facts(node)) co_return std::move(*known);
  const std::string path = path_of(node);
  const uint64_t life = life_of(node);
  auto learnt = co_await learn(std::move(node));
  if (learnt) {
    learnt->life = life;
    recent_.put(path, *learnt);
  }
  co_return learnt;
}

Task<Result<Facts>> VirtualContents::learn(VirtualNode node) {
  switch (node.kind) {
    case NodeKind::kApp:
    case NodeKind::kMaps: co_return co_await shuffle_exists(std::move(node));
    case NodeKind::kShuffle: co_return co_await shuffle_facts(node.key());
    case NodeKind::kPartition:
    case NodeKind::kMerged:
    case NodeKind::kIndex: co_return co_await partition_facts(std::move(node));
    case NodeKind::kStatus:
    case NodeKind::kOwnersOf:
    case NodeKind::kInfoFile: co_return co_await text_facts(std::move(node));
    default: break;
  }
  co_return co_await offload(engine_.runtime(), [this, &node] {
    auto now = facts_now(node);
    return now ? std::move(*now) : Result<Facts>(missing(node));
  });
}

// Of an application, or of maps/ of a shuffle.
Task<Result<Facts>> VirtualContents::shuffle_exists(VirtualNode node) {
  const std::vector<ShuffleKey> keys = co_await engine_.catalog().shuffles();
  const bool exists = std::ranges::any_of(keys, [&](const ShuffleKey& key) {
    return key.app == node.app && (node.kind == NodeKind::kApp || key.shuffle == node.shuffle);
  });
  struct Here {
    bool has_app = false;
    bool knows_owner = false;
  };
  // A writer waits for the disk: whoever makes the directory next needs it.
  const Here here = co_await offload(engine_.runtime(), [this, &node] {
    return Here{places_.has_app(node.app), places_.knows_owner_of(node.app)};
  });
  if (!exists && !(node.kind == NodeKind::kApp && here.has_app)) co_return missing(node);
  if (!here.knows_owner) {
    for (const ShuffleKey& key : keys) {
      if (key.app != node.app) continue;
      const merge::ShuffleTotals totals = co_await engine_.catalog().totals(key);
      for (const merge::FileOwner owner : totals.owners) engine_.owners().heard(key.app, owner);
      if (!totals.owners.empty()) break;
    }
  }
  co_return Facts{};
}

Task<Result<Facts>> VirtualContents::shuffle_facts(ShuffleKey key) {
  const merge::ShuffleTotals totals = co_await engine_.catalog().totals(key);
  VirtualNode node;
  node.kind = NodeKind::kShuffle;
  node.app = key.app;
  node.shuffle = key.shuffle;
  const bool is_known = totals.known || co_await offload(engine_.runtime(), [this, &key] {
                          return places_.has_shuffle(key);
                        });
  if (!is_known) {
    // Made by mkdir on another node and still empty: only the listings know it.
    node.kind = NodeKind::kMaps;
    auto exists = co_await shuffle_exists(node);
    if (!exists) co_return exists;
  }
  Facts facts;
  facts.attributes.emplace_back(kMapsAttribute, std::to_string(totals.sum.maps));
  facts.attributes.emplace_back(kMergedAttribute, std::to_string(totals.sum.maps_settled));
  facts.attributes.emplace_back(kPartitionsAttribute, std::to_string(totals.sum.partition_count));
  co_return facts;
}

Task<uint32_t> VirtualContents::partition_count(ShuffleKey key) {
  const VirtualNode directory = partitions_of(key);
  Facts facts;
  facts.life = life_of(directory);
  facts.size = co_await engine_.catalog().partition_count(std::move(key));
  const auto count = static_cast<uint32_t>(facts.size);
  recent_.put(path_of(directory), std::move(facts));
  co_return count;
}

// A remembered count is good enough to say yes: it falls only by a drop. It is not good enough to
// say no.
Task<bool> VirtualContents::has_partition(ShuffleKey key, merge::PartitionId partition) {
  // What this node knows itself costs no question.
  if (merge::number(partition) < engine_.known_partition_count(key)) co_return true;
  const auto known = recent_facts(partitions_of(key));
  if (known && merge::number(partition) < known->size) co_return true;
  co_return merge::number(partition) < co_await partition_count(std::move(key));
}

Task<Result<Facts>> VirtualContents::partition_facts(VirtualNode node) {
  if (!co_await has_partition(node.key(), node.partition)) co_return missing(node);
  if (node.kind == NodeKind::kPartition) {
    co_return facts_of_plan(co_await engine_.catalog().plan(node.key(), node.partition));
  }
  const merge::PartitionPlan plan =
      co_await engine_.catalog().merged_plan(node.key(), node.partition);
  Facts facts;
  facts.size = node.kind == NodeKind::kMerged ? plan.bytes : merge::render_index_view(plan).size();
  co_return facts;
}

Task<Result<std::string>> VirtualContents::text_of(VirtualNode node) {
  if (node.kind == NodeKind::kStatus)
    co_return printable_lines(co_await engine_.status_text(node.key()));
  if (node.kind == NodeKind::kOwnersOf)
    co_return engine_.owners_text(node.key(), merge::number(node.partition) + 1);
  const auto it = texts_.find(node.info);
  if (it == texts_.end()) co_return missing(node);
  co_return co_await it->second();
}

Task<Result<Facts>> VirtualContents::text_facts(VirtualNode node) {
  CO_TRY_ASSIGN(std::string text, co_await text_of(std::move(node)));
  Facts facts;
  facts.size = text.size();
  facts.text = std::make_shared<const std::string>(std::move(text));
  co_return facts;
}

}  // namespace shufflefs::fs
