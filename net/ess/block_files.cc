#include "net/ess/block_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/reactor_mark.h"
#include "base/seeded_hash.h"
#include "merge/spark_files.h"

namespace shufflefs::net::ess {
namespace {

constexpr Duration kTrustFor = std::chrono::seconds(2);
constexpr Duration kKeepOpen = std::chrono::seconds(5);

merge::ShuffleId shuffle_id(int32_t id) { return static_cast<merge::ShuffleId>(id); }
merge::MapId map_id(int64_t id) { return static_cast<merge::MapId>(id); }

Error in_context(const BlockList& blocks, std::size_t chunk, Error error) {
  if (error.sys_errno != 0) error.message += fmt::format(" (errno {})", error.sys_errno);
  return std::move(error).with_context(BlockFiles::describe(blocks, chunk));
}

}  // namespace

BlockFiles::BlockFiles(Runtime& runtime, const merge::SparkApps& apps, std::size_t most_open)
    : runtime_(runtime), apps_(apps), most_open_(most_open) {}

Status BlockFiles::open_roots() {
  for (const std::string& root : apps_.executors().rules().roots()) {
    on_disk_wait(root);
    Fd fd(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return errno_error(fmt::format("cannot open the directory {}", root));
    roots_.push_back(std::move(fd));
  }
  return ok();
}

std::size_t BlockFiles::KeyHash::operator()(const Key& key) const noexcept {
  const SeededHash hash;  // clients choose shuffle and map
  const auto place = static_cast<uint64_t>(key.shuffle) << 8U | static_cast<uint64_t>(key.kind);
  const uint64_t of_executor = hash(reinterpret_cast<std::uintptr_t>(key.executor) ^ place);
  return hash(of_executor ^ static_cast<uint64_t>(key.map));
}

std::string BlockFiles::describe(const BlockList& blocks, std::size_t chunk) {
  const BlockList::Chunk part = blocks.chunk(chunk);
  const int64_t map = blocks.maps[part.map];
  switch (blocks.kind) {
    case BlockList::Kind::kRdd:
      return fmt::format("{} rdd {} partition {} of executor {}", blocks.app, map, part.begin,
                         blocks.executor);
    case BlockList::Kind::kRanges:
      return fmt::format("{} shuffle {} map {} partitions {} to {} of executor {}", blocks.app,
                         blocks.shuffle, map, part.begin, part.end, blocks.executor);
    case BlockList::Kind::kPartitions: break;
  }
  return fmt::format("{} shuffle {} map {} partition {} of executor {}", blocks.app, blocks.shuffle,
                     map, part.begin, blocks.executor);
}

FilePlace BlockFiles::place_of(const merge::Executor& executor, const std::string& name,
                               std::size_t* lane) const {
  const merge::SparkPlace place =
      merge::spark_place(name, executor.directories.size(), executor.sub_directories);
  const merge::LocalDir& directory = executor.directories[place.directory];
  if (lane != nullptr) *lane = directory.root;
  const std::string below = directory.below + "/" + merge::spark_path_below(place, name);
  return {roots_.at(directory.root).get(), below,
          apps_.executors().rules().roots().at(directory.root) + "/" + below};
}

BlockFiles::Key BlockFiles::key_of(const Stream& stream, std::size_t map) {
  const bool rdd = stream.blocks.kind == BlockList::Kind::kRdd;
  // Both kinds of chunks of a map output are in the same files.
  return {stream.executor.get(), rdd ? BlockList::Kind::kRdd : BlockList::Kind::kPartitions,
          stream.blocks.maps[map], rdd ? stream.blocks.reduces[map] : stream.blocks.shuffle};
}

Status BlockFiles::find_executor(Stream& stream) const {
  if (stream.executor) return ok();
  stream.executor = apps_.find(stream.blocks.app, stream.blocks.executor);
  if (stream.executor) return ok();
  // The words of the JVM's service.
  return make_error(Code::kNotFound, fmt::format("Executor is not registered (appId={}, execId={})",
                                                 stream.blocks.app, stream.blocks.executor));
}

std::size_t BlockFiles::lane_of(Stream& stream, std::size_t chunk) {
  if (!find_executor(stream)) return 0;
  const BlockList& blocks = stream.blocks;
  const std::size_t map = blocks.chunk(chunk).map;
  const std::string name =
      blocks.kind == BlockList::Kind::kRdd
          ? merge::spark_rdd_name(static_cast<uint32_t>(blocks.maps[map]),
                                  static_cast<uint32_t>(blocks.reduces[map]))
          : merge::spark_file_name(shuffle_id(blocks.shuffle), map_id(blocks.maps[map]),
                                   merge::SparkFile::kData);
  const merge::SparkPlace place = merge::spark_place(name, stream.executor->directories.size(),
                                                     stream.executor->sub_directories);
  return stream.executor->directories[place.directory].root;
}

Result<std::shared_ptr<OpenOutput>> BlockFiles::open(const Stream& stream, std::size_t map) const {
  const BlockList& blocks = stream.blocks;
  const merge::Executor& executor = *stream.executor;
  std::size_t lane = 0;
  if (blocks.kind == BlockList::Kind::kRdd) {
    const std::string name = merge::spark_rdd_name(static_cast<uint32_t>(blocks.maps[map]),
                                                   static_cast<uint32_t>(blocks.reduces[map]));
    FilePlace place = place_of(executor, name, &lane);
    return OpenOutput::open(std::move(place), std::nullopt, lane);
  }
  const auto shuffle = shuffle_id(blocks.shuffle);
  const auto id = map_id(blocks.maps[map]);
  FilePlace data =
      place_of(executor, merge::spark_file_name(shuffle, id, merge::SparkFile::kData), &lane);
  FilePlace index =
      place_of(executor, merge::spark_file_name(shuffle, id, merge::SparkFile::kIndex));
  return OpenOutput::open(std::move(data), std::move(index), lane);
}

std::optional<Result<std::shared_ptr<OpenOutput>>> BlockFiles::output_of(Stream& stream,
                                                                         std::size_t map,
                                                                         Wait wait) {
  if (stream.output && stream.output_map == map) return stream.output;
  if (const Status known = find_executor(stream); !known)
    return Result<std::shared_ptr<OpenOutput>>(known.error());
  const Key key = key_of(stream, map);
  const TimePoint now = runtime_.now();
  std::shared_ptr<OpenOutput> stale;
  {
    const MutexLock lock(mu_);
    if (const auto it = by_key_.find(key); it != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      Entry& entry = *it->second;
      entry.used = now;
      if (now - entry.checked < kTrustFor) return entry.output;
      stale = entry.output;
    }
  }
  if (wait == Wait::kNo) return std::nullopt;
  if (stale && stale->is_current()) {
    remember(key, stream.executor, stale);
    return stale;
  }
  auto opened = open(stream, map);
  if (opened) remember(key, stream.executor, *opened);
  return opened;
}

void BlockFiles::remember(const Key& key, const merge::ExecutorRef& executor,
                          const std::shared_ptr<OpenOutput>& output) {
  const TimePoint now = runtime_.now();
  const MutexLock lock(mu_);
  if (const auto it = by_key_.find(key); it != by_key_.end()) {
    it->second->output = output;
    it->second->checked = it->second->used = now;
    return;
  }
  entries_.push_front({key, executor, output, now, now});
  by_key_[key] = entries_.begin();
  if (entries_.size() > most_open_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

std::optional<Result<Block>> BlockFiles::find(Stream& stream, std::size_t chunk, Wait wait) {
  const BlockList& blocks = stream.blocks;
  const BlockList::Chunk part = blocks.chunk(chunk);
  if (part.begin < 0 || part.end < part.begin) {
    return Result<Block>(in_context(
        blocks, chunk, make_error(Code::kInvalidArgument, "No partition has such a number")));
  }
  const auto output = output_of(stream, part.map, wait);
  if (!output) return std::nullopt;
  if (!*output) return Result<Block>(in_context(blocks, chunk, output->error()));
  stream.output = **output;
  stream.output_map = part.map;
  const auto range = stream.output->range(static_cast<uint32_t>(part.begin),
                                          static_cast<uint32_t>(part.end), wait);
  if (!range) return std::nullopt;
  if (!*range) return Result<Block>(in_context(blocks, chunk, range->error()));
  if ((*range)->length == 0) {
    return Result<Block>(
        in_context(blocks, chunk,
                   make_error(Code::kNotFound,
                              fmt::format("the block is empty in {}: nobody should ask for it",
                                          stream.output->data_path()))));
  }
  return Block{stream.output, (*range)->offset, (*range)->length};
}

void BlockFiles::close_idle() {
  const TimePoint now = runtime_.now();
  Entries idle;  // closed outside of the lock
  {
    const MutexLock lock(mu_);
    while (!entries_.empty() && now - entries_.back().used > kKeepOpen) {
      by_key_.erase(entries_.back().key);
      idle.splice(idle.begin(), entries_, std::prev(entries_.end()));
    }
  }
}

void BlockFiles::close_files_of(const merge::Executor& executor) {
  Entries closed;
  const MutexLock lock(mu_);
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto entry = it++;
    if (entry->executor.get() != &executor) continue;
    by_key_.erase(entry->key);
    closed.splice(closed.begin(), entries_, entry);
  }
}

std::size_t BlockFiles::open_files() const {
  const MutexLock lock(mu_);
  return entries_.size();
}

}  // namespace shufflefs::net::ess
