#include "fs/checked_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/crc32c_combine.h"
#include "merge/stream_units.h"

namespace shufflefs::fs {
namespace {

using merge::kUnitBytes;
using merge::PlannedBlock;

constexpr int kTries = 2;  // a stream that has found a copy wrong reads another one

Error wrong_bytes(const merge::PartitionPlan& plan, const PlannedBlock& block) {
  return make_error(
      Code::kCorruptData,
      fmt::format("map {} of {}/{} does not match its checksum", merge::number(block.map),
                  to_string(plan.shuffle), merge::number(plan.partition)));
}

uint32_t piece_length(const PlannedBlock& block, uint64_t within) {
  return static_cast<uint32_t>(std::min(kUnitBytes, block.length - within));
}

}  // namespace

CheckedStream::Blocks CheckedStream::large_blocks(uint64_t offset, uint64_t size) const {
  if (!checks_large_) return {};
  const std::vector<PlannedBlock>& blocks = plan().blocks;
  auto it = std::upper_bound(
      blocks.begin(), blocks.end(), offset,
      [](uint64_t at, const PlannedBlock& block) { return at < block.offset + block.length; });
  Blocks large;
  for (; it != blocks.end() && it->offset < offset + size; ++it) {
    if (it->merged && it->length > kUnitBytes) large.push_back(&*it);
  }
  return large;
}

Task<Result<Buffer>> CheckedStream::read(uint64_t offset, uint32_t size) {
  const Blocks large = large_blocks(offset, size);
  for (const PlannedBlock* block : large) CO_TRY(co_await pieces_of(*block));
  for (int tries = 1;; ++tries) {
    auto bytes = co_await stream_->read(offset, size);
    if (!bytes && bytes.error().code == Code::kCorruptData && tries < kTries) continue;
    if (!bytes || large.empty()) co_return bytes;
    Status right = ok();
    for (const PlannedBlock* block : large) {
      if (right) right = co_await compare(*block, offset, bytes->span());
    }
    if (right) co_return bytes;
    if (tries == kTries) co_return right.error();
  }
}

Task<Result<std::shared_ptr<CheckedStream::Pieces>>> CheckedStream::pieces_of(
    const PlannedBlock& block) {
  std::shared_ptr<Pieces> pieces = pieces_[&block];
  if (!pieces) {
    pieces = pieces_[&block] = std::make_shared<Pieces>();
    // Whatever ends this coroutine: who waits for it hears of it.
    const std::shared_ptr<void> ended(nullptr, [pieces](void*) {
      if (!pieces->learnt) pieces->learnt = make_error(Code::kCancelled, "the reader has gone");
      for (const auto& waiter : pieces->waiters) waiter->wake();
    });
    Status learnt = co_await learn(block, pieces->crcs);
    if (!learnt && learnt.error().code == Code::kCorruptData)
      learnt = co_await learn(block, pieces->crcs);
    pieces->learnt = std::move(learnt);
  }
  while (!pieces->learnt) {
    const auto waiter = std::shared_ptr<Timer>(runtime_.make_timer());
    pieces->waiters.push_back(waiter);
    co_await waiter->wait_for(std::chrono::seconds(60));
  }
  if (*pieces->learnt) co_return pieces;
  const auto it = pieces_.find(&block);
  if (it != pieces_.end() && it->second == pieces) pieces_.erase(it);  // the next read tries again
  co_return pieces->learnt->error();
}

Task<Status> CheckedStream::learn(const PlannedBlock& block, std::vector<uint32_t>& crcs) {
  crcs.clear();
  uint32_t all = 0;
  for (uint64_t within = 0; within < block.length; within += kUnitBytes) {
    const uint32_t length = piece_length(block, within);
    CO_TRY_ASSIGN(const Buffer piece, co_await stream_->read(block.offset + within, length));
    if (piece.size() != length) co_return wrong_bytes(plan(), block);
    crcs.push_back(crc32c(piece.span()));
    all = crc32c_combine(all, crcs.back(), length);
  }
  if (all != block.merged->crc) co_return wrong_bytes(plan(), block);
  co_return ok();
}

// Whether what `bytes`, read at `offset`, have of the block is what was learnt. A piece of which
// they have only a part is read whole: the stream still has it.
Task<Status> CheckedStream::compare(const PlannedBlock& block, uint64_t offset,
                                    std::span<const std::byte> bytes) {
  CO_TRY_ASSIGN(const std::shared_ptr<Pieces> pieces, co_await pieces_of(block));
  const uint64_t begin = std::max(offset, block.offset);
  const uint64_t end = std::min(offset + bytes.size(), block.offset + block.length);
  for (uint64_t at = begin; at < end;) {
    const uint64_t within = (at - block.offset) / kUnitBytes * kUnitBytes;
    const uint32_t length = piece_length(block, within);
    const uint64_t piece_at = block.offset + within;
    const uint64_t until = std::min(end, piece_at + length);
    const auto part = bytes.subspan(at - offset, until - at);
    if (part.size() == length) {
      if (crc32c(part) != pieces->crcs[within / kUnitBytes]) co_return wrong_bytes(plan(), block);
    } else {
      CO_TRY_ASSIGN(const Buffer piece, co_await stream_->read(piece_at, length));
      if (piece.size() != length || crc32c(piece.span()) != pieces->crcs[within / kUnitBytes] ||
          std::memcmp(piece.data() + (at - piece_at), part.data(), part.size()) != 0)
        co_return wrong_bytes(plan(), block);
    }
    at = until;
  }
  co_return ok();
}

}  // namespace shufflefs::fs
