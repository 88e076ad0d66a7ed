#include "merge/output_sizes.h"

#include "merge/map_output.h"

namespace shufflefs::merge {

OutputSizes::OutputSizes(Runtime& runtime, FileIo& io, Metrics& metrics, const ShuffleTable& table)
    : runtime_(runtime),
      io_(io),
      table_(table),
      index_reads_(metrics.counter("shufflefs_index_reads_total",
                                   "Indexes of map outputs that were read as a whole.")) {}

Task<Result<BlockSizesRef>> OutputSizes::of(MapOutputRef output) {
  if (BlockSizesRef kept = table_.sizes_of(*output)) co_return kept;
  index_reads_.add();
  auto read = co_await offload(runtime_, [this, &output] { return read_sizes(io_, *output); });
  if (!read) co_return read.error();
  co_return std::make_shared<const BlockSizes>(*std::move(read));
}

}  // namespace shufflefs::merge
