#include "merge/plan_codec.h"

#include <algorithm>

#include "merge/record_archive.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kMagic = 0x504C4E33;  // "PLN3"

// The names that a plan refers to by their number here.
using Names = std::vector<NodeName>;

void note(Names& names, const std::optional<NodeName>& name) {
  if (name && std::ranges::find(names, *name) == names.end()) names.push_back(*name);
}

Names names_of(const PartitionPlan& plan) {
  Names names;
  note(names, plan.owner);
  note(names, plan.whole_at);
  for (const PlannedBlock& block : plan.blocks) {
    if (block.merged) note(names, block.merged->holder);
    note(names, block.origin);
  }
  return names;
}

template <class Archive>
void named(Archive& archive, const Names& names, NodeName& name) {
  auto at = static_cast<uint64_t>(std::ranges::find(names, name) - names.begin());
  archive.number(at);
  if (at >= names.size()) return archive.fail();
  name = names[at];
}

template <class Archive>
void fields(Archive& archive, const Names& names, PlannedBlock& block) {
  map_id(archive, block.map);
  archive.number(block.id.commit);
  integer(archive, block.id.origin, UINT64_MAX);
  archive.number(block.offset);
  archive.number(block.length);
  optional(archive, block.merged, [&](MergedAt& merged) {
    named(archive, names, merged.holder);
    archive.number(merged.view_offset);
    integer(archive, merged.crc);
  });
  optional(archive, block.origin, [&](NodeName& name) { named(archive, names, name); });
  flag(archive, block.lost_at_origin);
}

template <class Archive>
void fields(Archive& archive, Names& names, PartitionPlan& plan) {
  constexpr std::size_t kMinBlockBytes = 8;
  uint64_t magic = kMagic;
  archive.number(magic);
  if (magic != kMagic) return archive.fail();
  archive.list(names, 2, [&](NodeName& name) { node(archive, name); });
  app(archive, plan.shuffle.app);
  integer(archive, plan.shuffle.shuffle, kMaxShuffleId);
  integer(archive, plan.partition, kMaxPartitions - 1);
  archive.number(plan.life);
  flag(archive, plan.known);
  archive.list(plan.blocks, kMinBlockBytes,
               [&](PlannedBlock& block) { fields(archive, names, block); });
  archive.number(plan.bytes);
  archive.number(plan.maps);
  archive.number(plan.maps_merged);
  archive.number(plan.merged_bytes);
  optional(archive, plan.owner, [&](NodeName& name) { named(archive, names, name); });
  archive.list(plan.unreachable, 1, [&](std::string& text) { archive.text(text); });
  optional(archive, plan.incomplete, [&](std::string& text) { archive.text(text); });
  optional(archive, plan.whole_at, [&](NodeName& name) { named(archive, names, name); });
}

}  // namespace

std::string encode_plan(const PartitionPlan& plan) {
  PartitionPlan copy = plan;
  Names names = names_of(plan);
  RecordWriter writer;
  fields(writer, names, copy);
  const std::vector<std::byte> bytes = writer.take();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<PartitionPlan> decode_plan(std::string_view bytes) {
  RecordReader reader(std::as_bytes(std::span(bytes)));
  Names names;
  PartitionPlan plan;
  fields(reader, names, plan);
  if (!reader.is_whole()) return make_error(Code::kCorruptData, "this is no saved partition plan");
  return plan;
}

}  // namespace shufflefs::merge
