#include "merge/block_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/log.h"
#include "merge/ask_nodes.h"
#include "merge/commits.h"

namespace shufflefs::merge {
namespace {

Error wrong_checksum() {
  return make_error(Code::kCorruptData, "the bytes do not match their checksum");
}

}  // namespace

std::string merged_file(const PartitionPlan& plan) {
  return fmt::format("merged/{}/{}/{}.data", plan.shuffle.app.str(),
                     life_directory(plan.shuffle.shuffle, plan.life), number(plan.partition));
}

BlockReader::BlockReader(Runtime& runtime, Cluster& cluster, Metrics& metrics, Gate& gate,
                         Duration lost_timeout, const PartitionPlan& plan)
    : runtime_(runtime),
      cluster_(cluster),
      gate_(gate),
      lost_timeout_(lost_timeout),
      plan_(plan),
      merged_bytes_(metrics.counter("shufflefs_read_merged_bytes_total",
                                    "Bytes of partitions read merged, without passthrough.")),
      origin_bytes_(metrics.counter("shufflefs_read_origin_bytes_total",
                                    "Bytes of partitions read from their origin.")),
      fallbacks_(metrics.counter("shufflefs_read_fallback_blocks_total",
                                 "Damaged or missing merged blocks read from another copy.")) {}

Task<std::optional<Buffer>> BlockReader::read_run(std::span<const PlannedBlock> blocks) {
  const PlannedBlock& first = blocks.front();
  const bool is_run = std::ranges::all_of(blocks, [&](const PlannedBlock& block) {
    return block.merged && first.merged && block.merged->holder == first.merged->holder &&
           block.merged->view_offset - first.merged->view_offset == block.offset - first.offset;
  });
  if (!is_run) co_return std::nullopt;
  const uint64_t length = blocks.back().offset + blocks.back().length - first.offset;
  auto bytes = co_await ask_holder(*first.merged, 0, length);
  if (!bytes || bytes->size() != length) co_return std::nullopt;
  for (const PlannedBlock& block : blocks) {
    if (crc32c(bytes->span().subspan(block.offset - first.offset, block.length)) !=
        block.merged->crc)
      co_return std::nullopt;
  }
  merged_bytes_.add(length);
  co_return *std::move(bytes);
}

Task<Status> BlockReader::read_whole(const PlannedBlock& block, std::span<std::byte> into) {
  return read(block, {0, into, true});
}

Task<Status> BlockReader::read_piece(const PlannedBlock& block, uint64_t within,
                                     std::span<std::byte> into) {
  Pieces& pieces = pieces_[&block];
  const bool planned = block.merged && !pieces.copy_is_bad;
  if (planned) {
    pieces.expected = block.merged->crc;
    CO_TRY(co_await read(block, {within, into, false}));
  } else {
    CO_TRY(co_await read_elsewhere(block, {within, into, false}));
  }
  // Found bad by another piece meanwhile: this one does not belong to those that are read anew.
  const bool outdated = planned && pieces.copy_is_bad;
  if (!outdated && pieces.add(within, into, block.length)) co_return ok();
  if (planned && !outdated) count_fallback(block, wrong_checksum());
  pieces.copy_is_bad = true;
  co_return make_error(
      Code::kCorruptData,
      name_of(block) +
          ": the merged copy does not match its checksum; read it again to get it from elsewhere");
}

bool BlockReader::Pieces::add(uint64_t at, std::span<const std::byte> piece,
                              uint64_t block_length) {
  const std::pair<uint64_t, uint32_t> one{piece.size(), crc32c(piece)};
  const auto [place, is_new] = read.try_emplace(at, one);
  if (!is_new && place->second == one) return true;  // read again: nothing has changed
  place->second = one;
  uint64_t covered = 0;
  uint32_t crc = 0;
  for (const auto& [offset, part] : read) {
    crc = offset == 0 ? part.second : crc32c_combine(crc, part.second, part.first);
    covered += part.first;
  }
  if (covered < block_length || crc == expected.value_or(crc)) return true;
  read.clear();
  return false;
}

Task<Status> BlockReader::read(const PlannedBlock& block, Target target) {
  if (block.merged) {
    const Status fetched = co_await read_copy(*block.merged, target);
    if (fetched) co_return ok();
    count_fallback(block, fetched.error());
  }
  CO_TRY(co_await read_elsewhere(block, target));
  if (target.whole && block.merged && crc32c(target.into) != block.merged->crc) {
    co_return make_error(
        Code::kCorruptData,
        name_of(block) + ": its origin has other bytes than were merged: that disk is damaged");
  }
  co_return ok();
}

Task<Status> BlockReader::read_copy(const MergedAt& copy, Target target) {
  CO_TRY_ASSIGN(const Buffer bytes, co_await ask_holder(copy, target.within, target.into.size()));
  if (bytes.size() != target.into.size() || (target.whole && crc32c(bytes.span()) != copy.crc))
    co_return wrong_checksum();
  std::memcpy(target.into.data(), bytes.data(), bytes.size());
  merged_bytes_.add(bytes.size());
  co_return ok();
}

// `length` bytes of the holder's view from `within` the block on. A holder that does not answer is
// not asked again.
Task<Result<Buffer>> BlockReader::ask_holder(const MergedAt& merged, uint64_t within,
                                             uint64_t length) {
  const NodeName& name = merged.holder;
  const std::shared_ptr<NodeApi> holder = cluster_.node(name);
  if (!holder || silent_.contains(name))
    co_return make_error(Code::kPeerUnreachable, name.str() + " does not answer");
  auto bytes = co_await holder->read_merged(
      plan_.shuffle, plan_.partition, merged.view_offset + within, static_cast<uint32_t>(length));
  if (!bytes &&
      (bytes.error().code == Code::kTimeout || bytes.error().code == Code::kPeerUnreachable))
    silent_.insert(name);
  co_return bytes;
}

Task<Status> BlockReader::read_elsewhere(const PlannedBlock& block, Target target) {
  Retries retries(runtime_, lost_timeout_);
  while (true) {
    Status fetched = co_await read_origin(block, target);
    if (fetched || co_await read_other_copy(block, target)) co_return ok();
    const bool holder_is_silent = block.merged && silent_.contains(block.merged->holder);
    if (!holder_is_silent && !is_passing(fetched.error().code)) co_return fetched;
    if (!co_await retries.pause()) co_return fetched;
    silent_.clear();
    if (holder_is_silent && co_await read_copy(*block.merged, target)) co_return ok();
  }
}

Task<Status> BlockReader::read_origin(const PlannedBlock& block, Target target) {
  const std::optional<NodeName> name = origin_of(block);
  const std::shared_ptr<NodeApi> origin = name ? cluster_.node(*name) : nullptr;
  if (!origin)
    co_return make_error(
        Code::kBlockLost,
        name_of(block) +
            " cannot be read where it was merged, and its origin is unknown or does not answer");
  const auto bytes =
      co_await origin->read_block(plan_.shuffle, block.map, block.id.commit, plan_.partition,
                                  target.within, static_cast<uint32_t>(target.into.size()));
  if (!bytes) {
    // A timeout stays a timeout; the message gets the name of what is missing.
    co_return Error(bytes.error())
        .with_context(
            fmt::format("{} cannot be read from its origin {}", name_of(block), name->str()));
  }
  if (bytes->size() != target.into.size())
    co_return make_error(Code::kProtocol,
                         name_of(block) + ": the origin sent a wrong number of bytes");
  std::memcpy(target.into.data(), bytes->data(), bytes->size());
  origin_bytes_.add(bytes->size());
  co_return ok();
}

Task<bool> BlockReader::read_other_copy(const PlannedBlock& block, Target target) {
  // Twice: those that are known may be gone by now.
  for (int round = 0; round < 2; ++round) {
    for (const MergedAt& copy : co_await other_copies(block)) {
      Pieces* const pieces = target.whole ? nullptr : &pieces_[&block];
      // Some pieces were read of a copy with other bytes than this one's.
      if (pieces && pieces->expected.value_or(copy.crc) != copy.crc) continue;
      if (!co_await read_copy(copy, target)) continue;
      if (pieces) pieces->expected = copy.crc;
      co_return true;
    }
    copies_.clear();
  }
  co_return false;
}

Task<std::vector<MergedAt>> BlockReader::other_copies(const PlannedBlock& block) {
  if (auto copies = known_copies(block); !copies.empty()) co_return copies;
  const auto answers = co_await ask_nodes<PartitionInfo>(
      runtime_, gate_, cluster_, cluster_.names(),
      [shuffle = plan_.shuffle, partition = plan_.partition](NodeApi& node) {
        return node.merged_info(shuffle, partition);
      });
  copies_.clear();
  for (const auto& [name, info] : answers.good) {
    for (const MergedBlock& merged : info.merged)
      copies_.emplace(MapCommit{merged.map, merged.id},
                      Copy{merged.length, MergedAt{name, merged.offset, merged.crc}});
  }
  co_return known_copies(block);
}

std::vector<MergedAt> BlockReader::known_copies(const PlannedBlock& block) const {
  std::vector<MergedAt> copies;
  const auto [first, last] = copies_.equal_range(MapCommit{block.map, block.id});
  for (auto it = first; it != last; ++it) {
    const auto& [length, at] = it->second;
    if (length != block.length) continue;
    if (block.merged && (at.holder == block.merged->holder || at.crc != block.merged->crc))
      continue;
    copies.push_back(at);
  }
  return copies;
}

// Only the node that made the commit has this commit of the map output.
std::optional<NodeName> BlockReader::origin_of(const PlannedBlock& block) const {
  if (block.origin) return block.origin;
  const std::vector<NodeName> names = cluster_.names();
  const auto it = std::ranges::find(names, block.id.origin, tag_of);
  return it != names.end() ? std::optional(*it) : std::nullopt;
}

std::string BlockReader::name_of(const PlannedBlock& block) const {
  return fmt::format("map {} of {}/{}", number(block.map), to_string(plan_.shuffle),
                     number(plan_.partition));
}

void BlockReader::count_fallback(const PlannedBlock& block, const Error& error) {
  fallbacks_.add();
  log_limited(LogLevel::kWarning, "read.fallback",
              {{"app", plan_.shuffle.app.str()},
               {"shuffle", number(plan_.shuffle.shuffle)},
               {"partition", number(plan_.partition)},
               {"map", number(block.map)},
               {"node", block.merged->holder.str()},
               {"file", merged_file(plan_)},
               {"offset", block.merged->view_offset},
               {"bytes", block.length},
               {"errno", error.sys_errno},
               {"reason", error.message}});
}

}  // namespace shufflefs::merge
