// A PartitionStream of which nobody gets a byte that was not compared with its checksum first. The
// stream itself checks blocks up to a unit (1 MiB) before it returns any of them; a larger merged
// block it checks when the last piece has come, and who has read the first ones by then has read
// what nobody vouched for. So a large block is read once beforehand, which gives the checksum of
// each piece, and those together are compared with the block's; then each piece is compared with
// its own when it is read for good.
//
// Threads: reactor; several reads at a time are fine. Memory: what the stream leases, and 4 bytes
// for each MiB of large blocks. Failure: as the stream; kCorruptData if two tries give wrong bytes.
// Bound: a read waits for at most two readings of the blocks that it touches, each of which the
// stream bounds. Cost: merged blocks above 1 MiB are read twice. Blocks that are not merged have no
// checksum.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/runtime.h"
#include "merge/partition_stream.h"

namespace shufflefs::fs {

class CheckedStream {
 public:
  // `checks_large` false: no more than the stream does by itself.
  CheckedStream(Runtime& runtime, std::shared_ptr<merge::PartitionStream> stream,
                bool checks_large = true)
      : runtime_(runtime), stream_(std::move(stream)), checks_large_(checks_large) {}

  [[nodiscard]] const merge::PartitionPlan& plan() const { return stream_->plan(); }
  // As PartitionStream::read(). The stream must outlive it.
  [[nodiscard]] Task<Result<Buffer>> read(uint64_t offset, uint32_t size);
  [[nodiscard]] Task<void> close() { return stream_->close(); }

 private:
  // The checksums of a block's pieces, or that they are being learnt.
  struct Pieces {
    std::optional<Status> learnt;
    std::vector<uint32_t> crcs;
    std::vector<std::shared_ptr<Timer>> waiters;
  };
  using Blocks = std::vector<const merge::PlannedBlock*>;

  [[nodiscard]] Blocks large_blocks(uint64_t offset, uint64_t size) const;
  [[nodiscard]] Task<Result<std::shared_ptr<Pieces>>> pieces_of(const merge::PlannedBlock& block);
  [[nodiscard]] Task<Status> learn(const merge::PlannedBlock& block, std::vector<uint32_t>& crcs);
  [[nodiscard]] Task<Status> compare(const merge::PlannedBlock& block, uint64_t offset,
                                     std::span<const std::byte> bytes);

  Runtime& runtime_;
  const std::shared_ptr<merge::PartitionStream> stream_;
  const bool checks_large_;
  std::map<const merge::PlannedBlock*, std::shared_ptr<Pieces>> pieces_;
};

}  // namespace shufflefs::fs
