#include "merge/plan_codec.h"

#include <algorithm>
#include <type_traits>

namespace shufflefs::merge {
namespace {

constexpr uint32_t kMagic = 0x504C4E32;  // "PLN2"
constexpr uint32_t kNobody = 0xFFFFFFFF;

struct Head {
  uint32_t magic = kMagic;
  uint32_t shuffle = 0;
  uint32_t partition = 0;
  uint32_t owner = kNobody;
  uint32_t whole_at = kNobody;
  uint16_t is_incomplete = 0;
  uint16_t is_known = 0;
  uint64_t life = 0;
  uint64_t bytes = 0;
  uint64_t maps = 0;
  uint64_t maps_merged = 0;
  uint64_t merged_bytes = 0;
  uint64_t blocks = 0;
  uint64_t nodes = 0;
  uint64_t unreachable = 0;
};

struct Block {
  uint64_t map = 0;
  uint64_t commit = 0;
  uint64_t commit_origin = 0;  // a NodeTag
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t view_offset = 0;
  uint32_t crc = 0;
  uint32_t holder = kNobody;
  uint32_t origin = kNobody;
  uint32_t is_lost_at_origin = 0;
};

class Names {
 public:
  uint32_t number_of(const std::optional<NodeName>& name) {
    if (!name) return kNobody;
    const auto it = std::ranges::find(names_, *name);
    if (it != names_.end()) return static_cast<uint32_t>(it - names_.begin());
    names_.push_back(*name);
    return static_cast<uint32_t>(names_.size() - 1);
  }
  [[nodiscard]] const std::vector<NodeName>& all() const { return names_; }

 private:
  std::vector<NodeName> names_;
};

template <class T>
void put(std::string& to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& to, std::string_view text) {
  put(to, static_cast<uint32_t>(text.size()));
  to.append(text);
}

// Takes values off the front; `good` turns false where they end.
struct Source {
  std::string_view left;
  bool good = true;

  template <class T>
  T get() {
    T value{};
    if (left.size() < sizeof value) {
      good = false;
      return value;
    }
    left.copy(reinterpret_cast<char*>(&value), sizeof value);
    left.remove_prefix(sizeof value);
    return value;
  }
  std::string get_text() {
    const auto length = get<uint32_t>();
    if (length > left.size()) good = false;
    if (!good) return {};
    std::string text(left.substr(0, length));
    left.remove_prefix(length);
    return text;
  }
};

Block packed(const PlannedBlock& block, Names& names) {
  Block packed;
  packed.map = number(block.map);
  packed.commit = block.id.commit;
  packed.commit_origin = number(block.id.origin);
  packed.offset = block.offset;
  packed.length = block.length;
  if (block.merged) {
    packed.view_offset = block.merged->view_offset;
    packed.crc = block.merged->crc;
    packed.holder = names.number_of(block.merged->holder);
  }
  packed.origin = names.number_of(block.origin);
  packed.is_lost_at_origin = block.lost_at_origin ? 1 : 0;
  return packed;
}

Error broken() { return make_error(Code::kCorruptData, "this is no saved partition plan"); }

}  // namespace

std::string encode_plan(const PartitionPlan& plan) {
  Names names;
  std::string blocks;
  for (const PlannedBlock& block : plan.blocks) put(blocks, packed(block, names));
  Head head;
  head.shuffle = number(plan.shuffle.shuffle);
  head.partition = number(plan.partition);
  head.owner = names.number_of(plan.owner);
  head.whole_at = names.number_of(plan.whole_at);
  head.is_incomplete = plan.incomplete ? 1 : 0;
  head.is_known = plan.known ? 1 : 0;
  head.life = plan.life;
  head.bytes = plan.bytes;
  head.maps = plan.maps;
  head.maps_merged = plan.maps_merged;
  head.merged_bytes = plan.merged_bytes;
  head.blocks = plan.blocks.size();
  head.nodes = names.all().size();
  head.unreachable = plan.unreachable.size();

  std::string bytes;
  put(bytes, head);
  put_text(bytes, plan.shuffle.app.str());
  put_text(bytes, plan.incomplete.value_or(""));
  for (const NodeName& name : names.all()) put_text(bytes, name.str());
  for (const std::string& text : plan.unreachable) put_text(bytes, text);
  return bytes + blocks;
}

Result<PartitionPlan> decode_plan(std::string_view bytes) {
  Source source{bytes};
  const auto head = source.get<Head>();
  if (!source.good || head.magic != kMagic) return broken();
  PartitionPlan plan;
  TRY_ASSIGN(plan.shuffle.app, AppId::parse(source.get_text()));
  plan.shuffle.shuffle = ShuffleId{head.shuffle};
  plan.partition = PartitionId{head.partition};
  const std::string incomplete = source.get_text();
  if (head.is_incomplete != 0) plan.incomplete = incomplete;
  std::vector<NodeName> names;
  for (uint64_t i = 0; i < head.nodes && source.good; ++i) {
    TRY_ASSIGN(NodeName name, NodeName::parse(source.get_text()));
    names.push_back(std::move(name));
  }
  for (uint64_t i = 0; i < head.unreachable && source.good; ++i)
    plan.unreachable.push_back(source.get_text());
  const auto name_of = [&names](uint32_t at) {
    return at < names.size() ? std::optional(names[at]) : std::nullopt;
  };
  plan.owner = name_of(head.owner);
  plan.whole_at = name_of(head.whole_at);
  plan.known = head.is_known != 0;
  plan.life = head.life;
  plan.bytes = head.bytes;
  plan.maps = head.maps;
  plan.maps_merged = head.maps_merged;
  plan.merged_bytes = head.merged_bytes;
  if (!source.good || source.left.size() / sizeof(Block) != head.blocks) return broken();
  plan.blocks.reserve(head.blocks);
  for (uint64_t i = 0; i < head.blocks; ++i) {
    const auto block = source.get<Block>();
    PlannedBlock planned{.map = MapId{block.map},
                         .id = {block.commit, NodeTag{block.commit_origin}},
                         .offset = block.offset,
                         .length = block.length,
                         .origin = name_of(block.origin),
                         .lost_at_origin = block.is_lost_at_origin != 0};
    if (const auto holder = name_of(block.holder))
      planned.merged = MergedAt{*holder, block.view_offset, block.crc};
    plan.blocks.push_back(std::move(planned));
  }
  return plan;
}

}  // namespace shufflefs::merge
