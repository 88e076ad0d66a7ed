#include "merge/partition_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/crc32c.h"
#include "base/log.h"
#include "merge/ask_nodes.h"
#include "merge/commits.h"
#include "merge/other_copies.h"
#include "merge/patience.h"
#include "merge/piece_check.h"
#include "merge/stream_units.h"

namespace shufflefs::merge {
namespace {

constexpr auto kIdle = std::chrono::seconds(2);

// A reader has found the partition: what is missing of it now is lost, not a file that is not
// there.
Error as_read_error(Error error) {
  if (error.code == Code::kNotFound || error.sys_errno == ENOENT) {
    error.code = Code::kBlockLost;
    error.sys_errno = 0;
  }
  return error;
}

Error wrong_checksum() {
  return make_error(Code::kCorruptData, "the bytes do not match their checksum");
}

}  // namespace

std::string merged_file(const PartitionPlan& plan) {
  return fmt::format("merged/{}/{}/{}.data", plan.shuffle.app.str(),
                     life_directory(plan.shuffle.shuffle, plan.life), number(plan.partition));
}

struct PartitionStream::Impl : std::enable_shared_from_this<PartitionStream::Impl> {
  // A unit that is being fetched or has been.
  struct Loading {
    std::optional<Result<Buffer>> done;
    std::vector<std::shared_ptr<Timer>> waiters;
  };

  Impl(Runtime& runtime_in, Cluster& cluster_in, ByteBudget& budget_in, ByteBudget& replies_in,
       Metrics& metrics, StreamOptions options_in, PartitionPlan plan_in)
      : runtime(runtime_in),
        cluster(cluster_in),
        budget(budget_in),
        replies(replies_in),
        options(options_in),
        plan(std::move(plan_in)),
        units(cut_into_units(plan)),
        merged_bytes(metrics.counter(
            "shufflefs_read_merged_bytes_total",
            "Bytes of partitions read from merged blocks, not counting passthrough.")),
        origin_bytes(metrics.counter("shufflefs_read_origin_bytes_total",
                                     "Bytes of partitions read from where they were written.")),
        fallbacks(metrics.counter("shufflefs_read_fallback_blocks_total",
                                  "Merged blocks that were corrupt, short or gone, and were read "
                                  "from their origin, or another merged copy, instead.")),
        gate(runtime, "stream"),
        others(runtime, gate, cluster, plan.shuffle, plan.partition) {}

  [[nodiscard]] std::string name_of(const PlannedBlock& block) const {
    return fmt::format("map {} of {}/{}", number(block.map), to_string(plan.shuffle),
                       number(plan.partition));
  }

  [[nodiscard]] std::size_t index_of(const PlannedBlock& block) const {
    return static_cast<std::size_t>(&block - plan.blocks.data());
  }

  std::shared_ptr<Loading> load(std::size_t index);
  Task<void> fetch_unit(std::shared_ptr<Impl> self, std::size_t index,
                        std::shared_ptr<Loading> loading);
  Task<Result<Buffer>> fetch(StreamUnit unit);
  Task<std::optional<Buffer>> fetch_merged_run(StreamUnit unit);
  Task<Status> fetch_block(const PlannedBlock& block, uint64_t within, std::span<std::byte> into,
                           bool whole);
  Task<Status> fetch_copy(const MergedAt& copy, uint64_t within, std::span<std::byte> into,
                          bool whole);
  Task<Status> fetch_elsewhere(const PlannedBlock& block, uint64_t within,
                               std::span<std::byte> into, bool whole);
  Task<Status> fetch_from_origin(const PlannedBlock& block, uint64_t within,
                                 std::span<std::byte> into);
  Task<bool> fetch_other_copy(const PlannedBlock& block, uint64_t within, std::span<std::byte> into,
                              bool whole);
  Task<Status> fetch_piece(const PlannedBlock& block, uint64_t within, std::span<std::byte> into);
  [[nodiscard]] std::optional<NodeName> origin_of(const PlannedBlock& block) const;
  Task<Result<Buffer>> read_holder(const MergedAt& merged, uint64_t within, uint32_t length);
  void count_fallback(const PlannedBlock& block, const Error& error);
  void evict(std::size_t current);
  [[nodiscard]] std::size_t unit_at(uint64_t offset) const;
  Task<Status> wait_for(std::size_t index, std::shared_ptr<Loading> loading);

  Runtime& runtime;
  Cluster& cluster;
  ByteBudget& budget;   // of what is fetched
  ByteBudget& replies;  // of what the reader gets; never held while waiting for the other
  const StreamOptions options;
  const PartitionPlan plan;
  const std::vector<StreamUnit> units;
  Counter& merged_bytes;
  Counter& origin_bytes;
  Counter& fallbacks;
  std::map<std::size_t, std::shared_ptr<Loading>> loads;  // by unit
  std::map<std::size_t, PieceCheck> checks;               // by block, of those read in pieces
  // Holders that did not answer: asking them for one block after the other would be a wait each.
  std::set<NodeName> silent;
  std::size_t last_unit = 0;
  TimePoint last_use;
  Gate gate;
  OtherCopies others;
};

PartitionStream::PartitionStream(Runtime& runtime, Cluster& cluster, ByteBudget& budget,
                                 ByteBudget& replies, Metrics& metrics, StreamOptions options,
                                 PartitionPlan plan)
    : impl_(std::make_shared<Impl>(runtime, cluster, budget, replies, metrics, options,
                                   std::move(plan))) {}

PartitionStream::~PartitionStream() = default;

const PartitionPlan& PartitionStream::plan() const { return impl_->plan; }

Task<void> PartitionStream::close() { return impl_->gate.close(); }

void PartitionStream::release_if_idle() {
  if (impl_->runtime.now() - impl_->last_use < kIdle) return;
  std::erase_if(impl_->loads, [](const auto& entry) { return entry.second->done.has_value(); });
}

Task<Result<Buffer>> PartitionStream::read(uint64_t offset, uint32_t size) {
  const std::shared_ptr<Impl> impl = impl_;
  const PartitionPlan& plan = impl->plan;
  if (offset >= plan.bytes) {
    if (plan.incomplete) co_return make_error(Code::kBlockLost, *plan.incomplete);
    co_return Buffer(0);
  }
  const uint64_t wanted = std::min<uint64_t>(size, plan.bytes - offset);
  const std::size_t first = impl->unit_at(offset);
  const std::size_t last = impl->unit_at(offset + wanted - 1);
  // Held until they are copied, whatever is evicted meanwhile.
  std::vector<std::shared_ptr<Impl::Loading>> loading;
  for (std::size_t index = first; index <= last; ++index) loading.push_back(impl->load(index));
  // Going forward: fetch what comes next meanwhile.
  if (first == impl->last_unit || first == impl->last_unit + 1) {
    const std::size_t ahead = impl->options.ahead_bytes / kUnitBytes;
    for (std::size_t i = last + 1; i < impl->units.size() && i <= last + ahead; ++i)
      (void)impl->load(i);
  }
  impl->last_unit = last;
  impl->last_use = impl->runtime.now();
  for (std::size_t index = first; index <= last; ++index)
    CO_TRY(co_await impl->wait_for(index, loading[index - first]));
  // Last, so that nobody holds it who waits for anything else.
  CO_TRY_ASSIGN(ByteBudget::Lease lease,
                co_await impl->replies.acquire(wanted, impl->options.patience));
  Buffer out(wanted, std::move(lease));
  uint64_t done = 0;
  for (std::size_t index = first; index <= last; ++index) {
    const StreamUnit& unit = impl->units[index];
    const uint64_t within = offset + done - unit.offset;
    const uint64_t step = std::min(wanted - done, unit.length - within);
    std::memcpy(out.data() + done, (*loading[index - first]->done)->data() + within, step);
    done += step;
  }
  impl->evict(last);
  co_return out;
}

std::size_t PartitionStream::Impl::unit_at(uint64_t offset) const {
  const auto after =
      std::upper_bound(units.begin(), units.end(), offset,
                       [](uint64_t at, const StreamUnit& unit) { return at < unit.offset; });
  return static_cast<std::size_t>(after - units.begin()) - 1;
}

// Until the unit has been fetched; its error if it could not be.
Task<Status> PartitionStream::Impl::wait_for(std::size_t index, std::shared_ptr<Loading> loading) {
  if (!loading->done) {
    const auto waiter = std::shared_ptr<Timer>(runtime.make_timer());
    loading->waiters.push_back(waiter);
    co_await waiter->wait_for(options.patience * 3 + options.lost_patience);
  }
  if (!loading->done)
    co_return make_error(Code::kTimeout,
                         fmt::format("{}/{} did not arrive in time", to_string(plan.shuffle),
                                     number(plan.partition)));
  if (*loading->done) co_return ok();
  const auto it = loads.find(index);
  if (it != loads.end() && it->second == loading) loads.erase(it);  // the next read tries again
  co_return loading->done->error();
}

void PartitionStream::Impl::evict(std::size_t current) {
  // Behind the reader only the unit before stays (reads may overlap a little); far ahead is left
  // over from a seek.
  const std::size_t ahead = options.ahead_bytes / kUnitBytes + 1;
  std::erase_if(loads, [&](const auto& entry) {
    return entry.second->done && (entry.first + 1 < current || entry.first > current + ahead);
  });
}

std::shared_ptr<PartitionStream::Impl::Loading> PartitionStream::Impl::load(std::size_t index) {
  std::shared_ptr<Loading>& place = loads[index];
  if (!place) {
    place = std::make_shared<Loading>();
    gate.spawn(fetch_unit(shared_from_this(), index, place));
  }
  return place;
}

Task<void> PartitionStream::Impl::fetch_unit(std::shared_ptr<Impl> self, std::size_t index,
                                             std::shared_ptr<Loading> loading) {
  auto fetched = co_await self->fetch(self->units[index]);
  if (!fetched) fetched = as_read_error(std::move(fetched).error());
  loading->done = std::move(fetched);
  for (const auto& waiter : loading->waiters) waiter->wake();
}

Task<Result<Buffer>> PartitionStream::Impl::fetch(StreamUnit unit) {
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await budget.acquire(unit.length, options.patience));
  if (!unit.is_piece) {
    if (auto run = co_await fetch_merged_run(unit)) {
      run->set_lease(std::move(lease));
      co_return *std::move(run);
    }
  }
  Buffer buffer(unit.length, std::move(lease));
  if (unit.is_piece) {
    CO_TRY(co_await fetch_piece(plan.blocks[unit.first_block], unit.within, buffer.span()));
    co_return buffer;
  }
  for (std::size_t i = 0; i < unit.blocks; ++i) {
    const PlannedBlock& block = plan.blocks[unit.first_block + i];
    CO_TRY(co_await fetch_block(
        block, 0, buffer.span().subspan(block.offset - unit.offset, block.length), true));
  }
  co_return buffer;
}

// The common case: all blocks of the unit lie one after the other in one holder's view, so one
// question fetches them, and its answer is the unit. Nothing if they do not, or if anything about
// the answer is doubtful: then each block is fetched by itself.
Task<std::optional<Buffer>> PartitionStream::Impl::fetch_merged_run(StreamUnit unit) {
  const auto first = plan.blocks.begin() + static_cast<std::ptrdiff_t>(unit.first_block);
  const auto last = first + static_cast<std::ptrdiff_t>(unit.blocks);
  const bool run = std::all_of(first, last, [&](const PlannedBlock& block) {
    return block.merged && first->merged && block.merged->holder == first->merged->holder &&
           block.merged->view_offset - first->merged->view_offset == block.offset - first->offset;
  });
  if (!run) co_return std::nullopt;
  auto bytes = co_await read_holder(*first->merged, 0, static_cast<uint32_t>(unit.length));
  if (!bytes || bytes->size() != unit.length) co_return std::nullopt;
  for (auto block = first; block != last; ++block) {
    if (crc32c(bytes->span().subspan(block->offset - unit.offset, block->length)) !=
        block->merged->crc)
      co_return std::nullopt;
  }
  merged_bytes.add(unit.length);
  co_return *std::move(bytes);
}

// `length` bytes of the holder's view from `within` the block on. A holder that does not answer is
// not asked again by this stream.
Task<Result<Buffer>> PartitionStream::Impl::read_holder(const MergedAt& merged, uint64_t within,
                                                        uint32_t length) {
  const NodeName& name = merged.holder;
  const std::shared_ptr<NodeApi> holder = cluster.node(name);
  if (!holder || silent.contains(name))
    co_return make_error(Code::kPeerUnreachable, name.str() + " does not answer");
  auto bytes = co_await holder->read_merged(plan.shuffle, plan.partition,
                                            merged.view_offset + within, length);
  if (!bytes &&
      (bytes.error().code == Code::kTimeout || bytes.error().code == Code::kPeerUnreachable))
    silent.insert(name);
  co_return bytes;
}

// Only the node that made the commit has this commit of the map output.
std::optional<NodeName> PartitionStream::Impl::origin_of(const PlannedBlock& block) const {
  if (block.origin) return block.origin;
  const std::vector<NodeName> names = cluster.names();
  const auto it = std::ranges::find(names, block.id.origin, tag_of);
  return it != names.end() ? std::optional(*it) : std::nullopt;
}

void PartitionStream::Impl::count_fallback(const PlannedBlock& block, const Error& error) {
  fallbacks.add();
  log_limited(LogLevel::kWarning, "read.fallback",
              {{"app", plan.shuffle.app.str()},
               {"shuffle", number(plan.shuffle.shuffle)},
               {"partition", number(plan.partition)},
               {"map", number(block.map)},
               {"node", block.merged->holder.str()},
               {"file", merged_file(plan)},
               {"offset", block.merged->view_offset},
               {"bytes", block.length},
               {"errno", error.sys_errno},
               {"reason", error.message}});
}

Task<Status> PartitionStream::Impl::fetch_block(const PlannedBlock& block, uint64_t within,
                                                std::span<std::byte> into, bool whole) {
  if (block.merged) {
    const Status fetched = co_await fetch_copy(*block.merged, within, into, whole);
    if (fetched) co_return ok();
    count_fallback(block, fetched.error());
  }
  CO_TRY(co_await fetch_elsewhere(block, within, into, whole));
  if (whole && block.merged && crc32c(into) != block.merged->crc) {
    co_return make_error(
        Code::kCorruptData,
        name_of(block) + ": its origin has other bytes than were merged: that disk is damaged");
  }
  co_return ok();
}

// `whole`: into.size() is the block's length, and its checksum is looked at.
Task<Status> PartitionStream::Impl::fetch_copy(const MergedAt& copy, uint64_t within,
                                               std::span<std::byte> into, bool whole) {
  CO_TRY_ASSIGN(const Buffer bytes,
                co_await read_holder(copy, within, static_cast<uint32_t>(into.size())));
  if (bytes.size() != into.size() || (whole && crc32c(bytes.span()) != copy.crc))
    co_return wrong_checksum();
  std::memcpy(into.data(), bytes.data(), into.size());
  merged_bytes.add(into.size());
  co_return ok();
}

// Where the plan has it merged it could not be had, if it has: from its origin, or from a copy that
// another node has merged meanwhile. What may pass is waited for, and then the plan's holder is
// asked again as well.
Task<Status> PartitionStream::Impl::fetch_elsewhere(const PlannedBlock& block, uint64_t within,
                                                    std::span<std::byte> into, bool whole) {
  Patience patience(runtime, options.lost_patience);
  while (true) {
    Status fetched = co_await fetch_from_origin(block, within, into);
    if (fetched || co_await fetch_other_copy(block, within, into, whole)) co_return ok();
    const bool holder_is_silent = block.merged && silent.contains(block.merged->holder);
    if (!holder_is_silent && !is_passing(fetched.error().code)) co_return fetched;
    if (!co_await patience.again()) co_return fetched;
    silent.clear();
    if (holder_is_silent && co_await fetch_copy(*block.merged, within, into, whole)) co_return ok();
  }
}

Task<Status> PartitionStream::Impl::fetch_from_origin(const PlannedBlock& block, uint64_t within,
                                                      std::span<std::byte> into) {
  const std::optional<NodeName> origin_name = origin_of(block);
  const std::shared_ptr<NodeApi> origin = origin_name ? cluster.node(*origin_name) : nullptr;
  if (!origin)
    co_return make_error(
        Code::kBlockLost,
        name_of(block) +
            " cannot be read where it was merged, and its origin is unknown or does not answer");
  const auto bytes =
      co_await origin->read_block(plan.shuffle, block.map, block.id.commit, plan.partition, within,
                                  static_cast<uint32_t>(into.size()));
  if (!bytes) {
    // A timeout stays a timeout; the message gets the name of what is missing.
    co_return Error(bytes.error())
        .with_context(fmt::format("{} cannot be read from its origin {}", name_of(block),
                                  origin_name->str()));
  }
  if (bytes->size() != into.size())
    co_return make_error(Code::kProtocol,
                         name_of(block) + ": the origin sent a wrong number of bytes");
  std::memcpy(into.data(), bytes->data(), into.size());
  origin_bytes.add(into.size());
  co_return ok();
}

Task<bool> PartitionStream::Impl::fetch_other_copy(const PlannedBlock& block, uint64_t within,
                                                   std::span<std::byte> into, bool whole) {
  // Twice: those that are known may be gone by now.
  for (int round = 0; round < 2; ++round) {
    for (const MergedAt& copy : co_await others.of(block)) {
      PieceCheck* const pieces = whole ? nullptr : &checks[index_of(block)];
      // Of another copy's bytes than this one's some pieces were read.
      if (pieces && pieces->expected().value_or(copy.crc) != copy.crc) continue;
      if (!co_await fetch_copy(copy, within, into, whole)) continue;
      if (pieces) pieces->expect(copy.crc);
      co_return true;
    }
    others.forget();
  }
  co_return false;
}

// A piece of a large block cannot be checked alone: the pieces' checksums are put together when the
// last has come. If they are wrong then, this piece fails, so that nobody takes the block for good,
// and later reads go elsewhere.
Task<Status> PartitionStream::Impl::fetch_piece(const PlannedBlock& block, uint64_t within,
                                                std::span<std::byte> into) {
  PieceCheck& check = checks[index_of(block)];
  const bool planned = block.merged && !check.copy_is_bad();
  if (planned) {
    check.expect(block.merged->crc);
    CO_TRY(co_await fetch_block(block, within, into, false));
  } else {
    CO_TRY(co_await fetch_elsewhere(block, within, into, false));
  }
  // Found bad by another piece meanwhile: this one does not belong to those that are read anew.
  const bool outdated = planned && check.copy_is_bad();
  if (!outdated && check.add(within, into, block.length)) co_return ok();
  if (planned && !outdated) count_fallback(block, wrong_checksum());
  check.set_copy_bad();
  // Those of its pieces that are here came from the bad copy.
  std::erase_if(loads, [&](const auto& entry) {
    const StreamUnit& unit = units[entry.first];
    return unit.is_piece && unit.first_block == index_of(block) && entry.second->done;
  });
  co_return make_error(
      Code::kCorruptData,
      name_of(block) +
          ": the merged copy does not match its checksum; read it again to get it from elsewhere");
}

}  // namespace shufflefs::merge
