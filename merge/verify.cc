#include "merge/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc32c.h"

namespace shufflefs::merge {
namespace {

constexpr uint64_t kPiece = 1U << 20U;

class Verifier {
 public:
  Verifier(Cluster& cluster, const PartitionPlan& plan, VerifyReport& report)
      : cluster_(cluster), plan_(plan), report_(report) {}

  Task<void> check(const PlannedBlock& block) {
    ++report_.blocks;
    if (block.merged) {
      co_await check_merged(block);
      if (block.origin)
        co_await check_origin(block);
      else
        ++report_.origins_gone;
    } else if (block.origin) {
      co_await touch_origin(block);
    }
  }

 private:
  // The crc32c of the whole copy.
  Task<Result<uint32_t>> crc_of(const PlannedBlock& block, bool merged) {
    const NodeName& name = merged ? block.merged->holder : *block.origin;
    const std::shared_ptr<NodeApi> node = cluster_.node(name);
    if (!node) co_return make_error(Code::kPeerUnreachable, "it is no member any more");
    uint32_t crc = 0;
    for (uint64_t done = 0; done < block.length;) {
      const auto size = static_cast<uint32_t>(std::min(kPiece, block.length - done));
      const auto bytes = merged
                             ? co_await node->read_merged(plan_.shuffle, plan_.partition,
                                                          block.merged->view_offset + done, size)
                             : co_await node->read_block(plan_.shuffle, block.map, block.id.commit,
                                                         plan_.partition, done, size);
      if (!bytes) co_return bytes.error();
      if (bytes->size() != size) co_return make_error(Code::kProtocol, "it sent too few bytes");
      crc = crc32c(crc, bytes->span());
      done += size;
      report_.bytes += size;
    }
    co_return crc;
  }

  Task<void> check_merged(const PlannedBlock& block) {
    const auto crc = co_await crc_of(block, true);
    if (crc && *crc == block.merged->crc)
      ++report_.merged;
    else
      found(block, true, crc ? mismatch(*crc, block.merged->crc) : crc.error());
  }

  Task<void> check_origin(const PlannedBlock& block) {
    const auto crc = co_await crc_of(block, false);
    if (crc && *crc == block.merged->crc)
      ++report_.origins;
    else if (!crc && crc.error().code == Code::kPeerUnreachable)
      ++report_.origins_gone;
    else if (!crc && (block.lost_at_origin || crc.error().code == Code::kBlockLost))
      lost_at_origin(block, crc.error());
    else
      found(block, false, crc ? mismatch(*crc, block.merged->crc) : crc.error());
  }

  Task<void> touch_origin(const PlannedBlock& block) {
    const std::shared_ptr<NodeApi> node = cluster_.node(*block.origin);
    if (!node) {
      found(block, false, make_error(Code::kPeerUnreachable, "it is no member any more"));
      co_return;
    }
    const auto size = static_cast<uint32_t>(std::min(kPiece, block.length));
    const uint64_t last = block.length - size;
    for (const uint64_t at : {uint64_t{0}, last}) {
      const auto bytes = co_await node->read_block(plan_.shuffle, block.map, block.id.commit,
                                                   plan_.partition, at, size);
      if (!bytes) {
        found(block, false, bytes.error());
        co_return;
      }
      report_.bytes += size;
      if (last == 0) break;
    }
    ++report_.origins;
  }

  void lost_at_origin(const PlannedBlock& block, const Error& error) {
    ++report_.lost_at_origin;
    found(block, false, error);
  }

  static Error mismatch(uint32_t found, uint32_t expected) {
    return make_error(Code::kCorruptData,
                      fmt::format("its crc32c is {:08x}, the index says {:08x}", found, expected));
  }

  void found(const PlannedBlock& block, bool merged, const Error& error) {
    report_.findings.push_back({block.map, merged ? block.merged->holder : *block.origin, merged,
                                merged ? block.merged->view_offset : 0, block.length, error.code,
                                error.sys_errno, error.message});
  }

  Cluster& cluster_;
  const PartitionPlan& plan_;
  VerifyReport& report_;
};

}  // namespace

Task<VerifyReport> verify_blocks(Runtime& runtime, Cluster& cluster, PartitionPlan plan,
                                 uint64_t first, VerifyLimits limits) {
  const TimePoint start = runtime.now();
  VerifyReport report;
  Verifier verifier(cluster, plan, report);
  for (report.next_block = first; report.next_block < plan.blocks.size(); ++report.next_block) {
    const bool is_over = report.bytes >= limits.bytes || runtime.now() - start >= limits.time;
    if (report.blocks > 0 && is_over) break;
    co_await verifier.check(plan.blocks[report.next_block]);
  }
  co_return report;
}

}  // namespace shufflefs::merge
