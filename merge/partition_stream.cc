#include "merge/partition_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shufflefs::merge {
namespace {

constexpr auto kIdleAfter = std::chrono::seconds(2);

// A reader has found the partition: what is missing of it now is lost, not a file that is not
// there.
Error as_read_error(Error error) {
  if (error.code == Code::kNotFound || error.sys_errno == ENOENT) {
    error.code = Code::kBlockLost;
    error.sys_errno = 0;
  }
  return error;
}

}  // namespace

std::vector<StreamUnit> cut_into_units(const PartitionPlan& plan) {
  std::vector<StreamUnit> units;
  bool open = false;  // may the last unit take another block?
  for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
    const PlannedBlock& block = plan.blocks[i];
    if (block.length > kUnitBytes) {
      for (uint64_t within = 0; within < block.length; within += kUnitBytes) {
        units.push_back({block.offset + within, std::min(kUnitBytes, block.length - within), i, 1,
                         within, true});
      }
      open = false;
      continue;
    }
    if (open && units.back().length + block.length <= kUnitBytes) {
      units.back().length += block.length;
      ++units.back().blocks;
    } else {
      units.push_back({block.offset, block.length, i, 1, 0, false});
    }
    open = true;
  }
  return units;
}

PartitionStream::PartitionStream(Runtime& runtime, Cluster& cluster, ByteBudget& budget,
                                 ByteBudget& replies, Metrics& metrics, StreamOptions options,
                                 PartitionPlan plan)
    : runtime_(runtime),
      budget_(budget),
      replies_(replies),
      options_(options),
      plan_(std::move(plan)),
      units_(cut_into_units(plan_)),
      gate_(runtime, "stream"),
      blocks_(runtime, cluster, metrics, gate_, options.lost_patience, plan_) {}

void PartitionStream::release_if_idle() {
  if (runtime_.now() - last_use_ < kIdleAfter) return;
  std::erase_if(loads_, [](const auto& entry) { return entry.second->done.has_value(); });
}

Task<Result<Buffer>> PartitionStream::read(uint64_t offset, uint32_t size) {
  gate_.set_owner(weak_from_this());
  return read_from(shared_from_this(), offset, size);
}

Task<Result<Buffer>> PartitionStream::read_from(Self /*self*/, uint64_t offset, uint32_t size) {
  if (offset >= plan_.bytes) {
    if (plan_.incomplete) co_return make_error(Code::kBlockLost, *plan_.incomplete);
    co_return Buffer(0);
  }
  const uint64_t wanted = std::min<uint64_t>(size, plan_.bytes - offset);
  const std::size_t first = unit_at(offset);
  const std::size_t last = unit_at(offset + wanted - 1);
  // Held until they are copied, whatever is evicted meanwhile.
  std::vector<std::shared_ptr<Loading>> loading;
  for (std::size_t index = first; index <= last; ++index) loading.push_back(load(index));
  // Going forward: fetch what comes next meanwhile.
  if (first == last_unit_ || first == last_unit_ + 1) {
    const std::size_t ahead = options_.ahead_bytes / kUnitBytes;
    for (std::size_t i = last + 1; i < units_.size() && i <= last + ahead; ++i) (void)load(i);
  }
  last_unit_ = last;
  last_use_ = runtime_.now();
  for (std::size_t index = first; index <= last; ++index)
    CO_TRY(co_await wait_for(index, loading[index - first]));
  // Last, so that nobody holds it who waits for anything else.
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await replies_.acquire(wanted, options_.patience));
  Buffer out(wanted, std::move(lease));
  uint64_t done = 0;
  for (std::size_t index = first; index <= last; ++index) {
    const StreamUnit& unit = units_[index];
    const uint64_t within = offset + done - unit.offset;
    const uint64_t step = std::min(wanted - done, unit.length - within);
    std::memcpy(out.data() + done, (*loading[index - first]->done)->data() + within, step);
    done += step;
  }
  evict(last);
  co_return out;
}

std::size_t PartitionStream::unit_at(uint64_t offset) const {
  const auto after =
      std::upper_bound(units_.begin(), units_.end(), offset,
                       [](uint64_t at, const StreamUnit& unit) { return at < unit.offset; });
  return static_cast<std::size_t>(after - units_.begin()) - 1;
}

Task<Status> PartitionStream::wait_for(std::size_t index, std::shared_ptr<Loading> loading) {
  if (!loading->done) {
    const auto waiter = std::shared_ptr<Timer>(runtime_.make_timer());
    loading->waiters.push_back(waiter);
    co_await waiter->wait_for(options_.patience * 3 + options_.lost_patience);
  }
  if (!loading->done)
    co_return make_error(Code::kTimeout,
                         fmt::format("{}/{} did not arrive in time", to_string(plan_.shuffle),
                                     number(plan_.partition)));
  if (*loading->done) co_return ok();
  const auto it = loads_.find(index);
  if (it != loads_.end() && it->second == loading) loads_.erase(it);  // the next read tries again
  co_return loading->done->error();
}

void PartitionStream::evict(std::size_t current) {
  // Behind the reader only the unit before stays (reads may overlap a little); far ahead is left
  // over from a seek.
  const std::size_t ahead = options_.ahead_bytes / kUnitBytes + 1;
  std::erase_if(loads_, [&](const auto& entry) {
    return entry.second->done && (entry.first + 1 < current || entry.first > current + ahead);
  });
}

std::shared_ptr<PartitionStream::Loading> PartitionStream::load(std::size_t index) {
  std::shared_ptr<Loading>& place = loads_[index];
  if (!place) {
    place = std::make_shared<Loading>();
    gate_.spawn(fetch_unit(index, place));
  }
  return place;
}

Task<void> PartitionStream::fetch_unit(std::size_t index, std::shared_ptr<Loading> loading) {
  auto fetched = co_await fetch(units_[index]);
  if (!fetched) fetched = as_read_error(std::move(fetched).error());
  loading->done = std::move(fetched);
  for (const auto& waiter : loading->waiters) waiter->wake();
}

Task<Result<Buffer>> PartitionStream::fetch(StreamUnit unit) {
  CO_TRY_ASSIGN(ByteBudget::Lease lease, co_await budget_.acquire(unit.length, options_.patience));
  const auto blocks = std::span(plan_.blocks).subspan(unit.first_block, unit.blocks);
  if (!unit.is_piece) {
    if (auto run = co_await blocks_.read_run(blocks)) {
      run->set_lease(std::move(lease));
      co_return *std::move(run);
    }
  }
  Buffer buffer(unit.length, std::move(lease));
  if (!unit.is_piece) {
    for (const PlannedBlock& block : blocks) {
      CO_TRY(co_await blocks_.read_whole(
          block, buffer.span().subspan(block.offset - unit.offset, block.length)));
    }
    co_return buffer;
  }
  const Status read = co_await blocks_.read_piece(blocks.front(), unit.within, buffer.span());
  if (read) co_return buffer;
  if (read.error().code == Code::kCorruptData) {
    // The pieces that are here came from the bad copy.
    std::erase_if(loads_, [&](const auto& entry) {
      const StreamUnit& other = units_[entry.first];
      return other.is_piece && other.first_block == unit.first_block && entry.second->done;
    });
  }
  co_return read.error();
}

}  // namespace shufflefs::merge
