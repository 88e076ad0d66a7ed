#include "net/ess/read_ahead.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace shufflefs::net::ess {
namespace {

constexpr std::size_t kMaxStreams = 256;
constexpr std::size_t kMaxSpans = 4096;
// A disk passes over this many bytes in less time than it takes to come back for what is behind.
constexpr uint64_t kGapBytes = 128U << 10U;
constexpr uint64_t kMaxBytes = 8U << 20U;
// The kernel cuts what it is asked at once to the disk's largest request, which is seldom smaller.
constexpr uint64_t kAskBytes = 256U << 10U;
constexpr uint64_t kProbeStep = 128U << 10U;

bool touch(int fd, uint64_t offset, int flags) {
  std::byte byte{};
  const iovec part{&byte, 1};
  return ::preadv2(fd, &part, 1, static_cast<off_t>(offset), flags) == 1;
}

// cachestat(2), from Linux 6.5: not in the headers of Debian 12.
constexpr long kCachestatCall = 451;
struct CachestatRange {
  uint64_t offset;
  uint64_t length;
};
struct Cachestat {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recently_evicted;
};

// How many pages of the range the page cache holds, also those that are being read; nothing where
// the kernel does not tell.
std::optional<uint64_t> cached_pages(int fd, uint64_t offset, uint64_t length) {
  CachestatRange range{offset, length};
  Cachestat found{};
  if (::syscall(kCachestatCall, fd, &range, &found, 0) != 0) return std::nullopt;
  return found.cached;
}

}  // namespace

void ReadAhead::add(const std::shared_ptr<Stream>& stream) {
  if (stream->blocks.kind == BlockList::Kind::kRdd) return;
  const MutexLock lock(mu_);
  auto& streams = streams_[{stream->blocks.app, stream->blocks.executor, stream->blocks.shuffle}];
  if (streams.size() >= kMaxStreams)
    std::erase_if(streams, [](const auto& held) { return held.expired(); });
  if (streams.size() < kMaxStreams) streams.push_back(stream);
}

void ReadAhead::clean_up() {
  const MutexLock lock(mu_);
  for (auto it = streams_.begin(); it != streams_.end();) {
    std::erase_if(it->second, [](const auto& held) { return held.expired(); });
    it = it->second.empty() ? streams_.erase(it) : std::next(it);
  }
}

bool ReadAhead::in_memory(const OpenOutput& output, uint64_t offset, uint64_t length) {
  // Counted first: for a page that is not there, even a read that must not wait starts a small one
  // from the disk, and takes away what would have been a large one.
  if (const auto cached = cached_pages(output.data_fd(), offset, length)) {
    constexpr uint64_t kPageBytes = 4096;
    const uint64_t pages = (offset + length - 1) / kPageBytes - offset / kPageBytes + 1;
    if (*cached < pages) return false;
  } else {
    for (uint64_t at = offset; at < offset + length; at += kProbeStep) {
      if (!touch(output.data_fd(), at, RWF_NOWAIT)) return false;
    }
  }
  return touch(output.data_fd(), offset + length - 1, RWF_NOWAIT);
}

std::vector<std::shared_ptr<Stream>> ReadAhead::readers_of(const BlockList& blocks) {
  std::vector<std::shared_ptr<Stream>> readers;
  const MutexLock lock(mu_);
  const auto it = streams_.find({blocks.app, blocks.executor, blocks.shuffle});
  if (it == streams_.end()) return readers;
  for (const auto& held : it->second) {
    if (auto stream = held.lock()) readers.push_back(std::move(stream));
  }
  return readers;
}

void ReadAhead::collect(Stream& stream, int64_t map, OpenOutput& output, std::vector<Span>& spans) {
  const BlockList& blocks = stream.blocks;
  const MutexLock lock(stream.mu);
  std::vector<uint32_t>& order = stream.by_map;
  if (order.empty()) {
    order.resize(blocks.maps.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](uint32_t a, uint32_t b) { return blocks.maps[a] < blocks.maps[b]; });
  }
  auto it = std::lower_bound(order.begin(), order.end(), map,
                             [&](uint32_t a, int64_t id) { return blocks.maps[a] < id; });
  for (; it != order.end() && blocks.maps[*it] == map; ++it) {
    const bool ranges = blocks.kind == BlockList::Kind::kRanges;
    const std::size_t first = ranges ? *it : blocks.first[*it];
    const std::size_t last = ranges ? *it + 1 : blocks.first[*it + 1];
    for (std::size_t chunk = first; chunk < last && spans.size() < kMaxSpans; ++chunk) {
      const BlockList::Chunk part = blocks.chunk(chunk);
      const auto range = output.range(static_cast<uint32_t>(part.begin),
                                      static_cast<uint32_t>(part.end), Wait::kYes);
      if (range && *range && (*range)->length > 0)
        spans.push_back({(*range)->offset, (*range)->offset + (*range)->length});
    }
  }
}

ReadAhead::Span ReadAhead::neighbourhood(std::vector<Span> wanted, Span around) {
  std::sort(wanted.begin(), wanted.end(),
            [](const Span& a, const Span& b) { return a.begin < b.begin; });
  Span run = around;
  // Upwards in one pass, as far as the bound allows, and downwards with what is left of it: blocks
  // behind the one that is being sent are wanted next.
  for (const Span& span : wanted) {
    if (span.begin < run.begin || span.begin > run.end + kGapBytes) continue;
    if (span.end <= run.end) continue;
    run.end = std::max(run.end, std::min(span.end, run.begin + kMaxBytes));
  }
  std::reverse(wanted.begin(), wanted.end());
  for (const Span& span : wanted) {
    if (span.begin >= run.begin || span.end + kGapBytes < run.begin) continue;
    if (run.end - span.begin > kMaxBytes) break;
    run.begin = span.begin;
  }
  return run;
}

void ReadAhead::ask(OpenOutput& output, const Span& span, uint64_t offset, uint64_t length) {
  metrics_.cold_chunks.add();
  metrics_.read_ahead_bytes.add(span.end - span.begin);
  for (uint64_t at = span.begin; at < span.end; at += kAskBytes) {
    (void)::posix_fadvise(output.data_fd(), static_cast<off_t>(at),
                          static_cast<off_t>(std::min(kAskBytes, span.end - at)),
                          POSIX_FADV_WILLNEED);
  }
  for (uint64_t at = offset; at < offset + length; at += kProbeStep)
    (void)touch(output.data_fd(), at, 0);
  (void)touch(output.data_fd(), offset + length - 1, 0);
}

void ReadAhead::fetch(const Stream& stream, OpenOutput& output, uint64_t offset, uint64_t length) {
  Span span{offset, offset + length};
  if (stream.blocks.kind != BlockList::Kind::kRdd) {
    const int64_t map = stream.blocks.maps[stream.output_map];
    std::vector<Span> wanted;
    for (const auto& reader : readers_of(stream.blocks)) collect(*reader, map, output, wanted);
    span = neighbourhood(std::move(wanted), span);
  }
  ask(output, span, offset, length);
}

void ReadAhead::fetch_run(OpenOutput& output, uint64_t offset, uint64_t length, uint64_t wanted) {
  ask(output, {offset, offset + std::min(wanted, kMaxBytes)}, offset, length);
}

}  // namespace shufflefs::net::ess
