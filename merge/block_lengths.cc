#include "merge/block_lengths.h"

#include <algorithm>
#include <bit>

namespace shufflefs::merge {
namespace {

constexpr uint64_t kRowBytes = 80;  // without its lengths
constexpr uint32_t kWidest = 1024;

// A stretch of all outputs takes at most an eighth of the memory.
uint32_t width_for(std::size_t outputs, uint64_t most_bytes) {
  const uint64_t fit = most_bytes / 8 / sizeof(uint64_t) / std::max<std::size_t>(1, outputs);
  return std::bit_floor(static_cast<uint32_t>(std::clamp<uint64_t>(fit, 1, kWidest)));
}

}  // namespace

BlockLengths::Stretch& BlockLengths::use(const Key& key) {
  const auto it = by_key_.find(key);
  if (it != by_key_.end()) {
    stretches_.splice(stretches_.begin(), stretches_, it->second);
    return *it->second;
  }
  stretches_.push_front({key, {}, 0});
  by_key_[key] = stretches_.begin();
  return stretches_.front();
}

void BlockLengths::remove(Stretches::iterator it) {
  bytes_ -= it->bytes;
  by_key_.erase(it->key);
  stretches_.erase(it);
}

void BlockLengths::shrink() {
  while (bytes_ > most_bytes_ && !stretches_.empty()) remove(std::prev(stretches_.end()));
}

std::vector<Result<uint64_t>> BlockLengths::lengths(
    const std::vector<std::shared_ptr<const MapOutput>>& outputs, PartitionId partition) {
  std::vector<Result<uint64_t>> answers(outputs.size(), Result<uint64_t>(uint64_t{0}));
  if (outputs.empty()) return answers;
  const uint32_t width = width_for(outputs.size(), most_bytes_);
  const Key key{outputs.front()->shuffle, width, number(partition) / width};
  const uint32_t within = number(partition) % width;
  std::vector<std::size_t> unknown;
  {
    const MutexLock lock(mu_);
    const Stretch& stretch = use(key);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const auto row = stretch.rows.find(number(outputs[i]->map));
      if (row == stretch.rows.end() || row->second.commit != outputs[i]->commit)
        unknown.push_back(i);
      else
        answers[i] = row->second.lengths[within];
    }
  }
  for (const std::size_t i : unknown) {
    const MapOutput& output = *outputs[i];
    auto read = block_lengths(io_, output, key.number * width, width);
    if (!read) {
      answers[i] = read.error();
      continue;
    }
    answers[i] = (*read)[within];
    const MutexLock lock(mu_);
    Stretch& stretch = use(key);
    Row& row = stretch.rows[number(output.map)];
    const uint64_t more = row.lengths.empty() ? kRowBytes + width * sizeof(uint64_t) : 0;
    row = {output.commit, *std::move(read)};
    stretch.bytes += more;
    bytes_ += more;
    shrink();
  }
  return answers;
}

void BlockLengths::forget(const ShuffleKey& shuffle) {
  const MutexLock lock(mu_);
  for (auto it = stretches_.begin(); it != stretches_.end();) {
    const auto next = std::next(it);
    if (it->key.shuffle == shuffle) remove(it);
    it = next;
  }
}

uint64_t BlockLengths::used_bytes() const {
  const MutexLock lock(mu_);
  return bytes_;
}

OutputSizes::OutputSizes(Runtime& runtime, FileIo& io, Metrics& metrics, const ShuffleTable& table)
    : runtime_(runtime),
      io_(io),
      table_(table),
      index_reads_(metrics.counter("shufflefs_index_reads_total",
                                   "Indexes of map outputs read as a whole.")) {}

Task<Result<BlockSizesRef>> OutputSizes::of(MapOutputRef output) {
  if (BlockSizesRef kept = table_.sizes_of(*output)) co_return kept;
  index_reads_.add();
  auto read = co_await offload(runtime_, [this, &output] { return read_sizes(io_, *output); });
  if (!read) co_return read.error();
  co_return std::make_shared<const BlockSizes>(*std::move(read));
}

}  // namespace shufflefs::merge
