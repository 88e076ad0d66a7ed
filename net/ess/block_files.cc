#include "net/ess/block_files.h"

#include <fmt/format.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "base/hash.h"
#include "base/log.h"
#include "merge/spark_files.h"

namespace shufflefs::net::ess {
namespace {

constexpr Duration kTrustFor = std::chrono::seconds(2);
constexpr Duration kKeepOpen = std::chrono::seconds(5);
constexpr uint32_t kWindow = 512;
constexpr std::size_t kOffsetBytes = 8;

// Fills `bytes`. Nothing if that would wait and must not.
std::optional<Status> read_all(int fd, std::span<std::byte> bytes, uint64_t offset, Wait wait,
                               const std::string& path) {
  if (wait != Wait::kNo) on_disk_wait(path);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const iovec part{bytes.data() + done, bytes.size() - done};
    const ssize_t n = ::preadv2(fd, &part, 1, static_cast<off_t>(offset + done),
                                wait == Wait::kNo ? RWF_NOWAIT : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && wait == Wait::kNo) return std::nullopt;  // EAGAIN, or NOWAIT is not known here
    if (n < 0) return errno_error(fmt::format("cannot read {} at offset {}", path, offset + done));
    if (n == 0) {
      return make_error(Code::kCorruptIndex, fmt::format("{} ends at offset {}, before {}", path,
                                                         offset + done, offset + bytes.size()));
    }
    done += static_cast<std::size_t>(n);
  }
  return ok();
}

merge::ShuffleId shuffle_id(int32_t id) { return static_cast<merge::ShuffleId>(id); }
merge::MapId map_id(int64_t id) { return static_cast<merge::MapId>(id); }

Error in_context(const BlockList& blocks, std::size_t chunk, Error error) {
  if (error.sys_errno != 0) error.message += fmt::format(" (errno {})", error.sys_errno);
  return std::move(error).with_context(BlockFiles::describe(blocks, chunk));
}

std::string data_name(const BlockList& blocks, std::size_t map) {
  if (blocks.kind == BlockList::Kind::kRdd) {
    return merge::spark_rdd_name(static_cast<uint32_t>(blocks.maps[map]),
                                 static_cast<uint32_t>(blocks.reduces[map]));
  }
  return merge::spark_file_name(shuffle_id(blocks.shuffle), map_id(blocks.maps[map]),
                                merge::SparkFile::kData);
}

// One of java.util.zip's: ADLER32, CRC32 (gzip's polynomial), CRC32C (from Spark 4.1).
class Checksum {
 public:
  [[nodiscard]] static std::optional<Checksum> of(std::string_view algorithm) {
    if (algorithm == "ADLER32") return Checksum(Kind::kAdler32, 1);
    if (algorithm == "CRC32") return Checksum(Kind::kCrc32, 0);
    if (algorithm == "CRC32C") return Checksum(Kind::kCrc32c, 0);
    return std::nullopt;
  }
  void add(std::span<const std::byte> bytes) {
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    switch (kind_) {
      case Kind::kAdler32: value_ = isal_adler32(value_, data, bytes.size()); break;
      case Kind::kCrc32: value_ = crc32_gzip_refl(value_, data, bytes.size()); break;
      case Kind::kCrc32c: value_ = crc32c(value_, bytes); break;
    }
  }
  [[nodiscard]] int64_t value() const { return value_; }

 private:
  enum class Kind { kAdler32, kCrc32, kCrc32c };
  Checksum(Kind kind, uint32_t value) : kind_(kind), value_(value) {}
  Kind kind_;
  uint32_t value_;
};

Result<int64_t> written_checksum(FileIo& io, const std::string& path, int32_t reduce) {
  TRY_ASSIGN(const std::unique_ptr<File> file, io.open(path, OpenMode::kRead));
  std::array<std::byte, 8> raw{};
  TRY(read_exactly(file->native_fd(), path, static_cast<uint64_t>(reduce) * raw.size(), raw));
  return load_be<int64_t>(raw.data());
}

Result<int64_t> computed_checksum(OpenOutput& output, int32_t reduce, Checksum checksum) {
  const auto range =
      output.range(static_cast<uint32_t>(reduce), static_cast<uint32_t>(reduce) + 1, Wait::kYes);
  if (!range || !*range) return range->error();
  constexpr uint64_t kPieceBytes = 256U << 10U;
  Bytes piece(std::min((*range)->length, kPieceBytes));
  for (uint64_t done = 0; done < (*range)->length;) {
    const auto part = std::span(piece).first(std::min((*range)->length - done, kPieceBytes));
    TRY(read_exactly(output.data_fd(), output.data_path(), (*range)->offset + done, part));
    checksum.add(part);
    done += part.size();
  }
  return checksum.value();
}

}  // namespace

// ---- an open file --------------------------------------------------------------------------------

Result<OpenOutput::Part> OpenOutput::open_part(FileIo& io, std::string path) {
  TRY_ASSIGN(std::unique_ptr<File> file, io.open(path, OpenMode::kRead));
  struct stat info{};
  if (::fstat(file->native_fd(), &info) != 0)
    return errno_error(fmt::format("cannot stat {}", path));
  if (!S_ISREG(info.st_mode))
    return make_error(Code::kInvalidArgument, fmt::format("{} is not a regular file", path));
  TRY_ASSIGN(const FileStamp stamp, file->stamp());
  return Part{std::move(path), std::move(file), stamp};
}

bool OpenOutput::is_current(FileIo& io) const {
  const auto same = [&io](const Part& part) {
    const auto now = io.stat(part.path);
    return now && now->stamp == part.stamp;
  };
  return same(data_) && (!index_ || same(*index_));
}

Result<std::shared_ptr<OpenOutput>> OpenOutput::open(FileIo& io, FilePlace data,
                                                     std::optional<FilePlace> index) {
  // The index first: Spark renames it first, and without it nothing was committed.
  std::optional<Part> index_part;
  if (index) {
    TRY_ASSIGN(index_part, open_part(io, std::move(index->path)));
  }
  TRY_ASSIGN(Part data_part, open_part(io, std::move(data.path)));
  return std::shared_ptr<OpenOutput>(
      new OpenOutput(std::move(data_part), std::move(index_part), data.lane));
}

std::optional<Result<uint64_t>> OpenOutput::offset(uint32_t number, Wait wait) {
  if (number < window_begin_ || number - window_begin_ >= window_.size()) {
    const uint64_t entries = index_->stamp.size / kOffsetBytes;
    const auto count = static_cast<std::size_t>(std::min<uint64_t>(kWindow, entries - number));
    std::array<std::byte, kWindow * kOffsetBytes> raw{};
    const auto bytes = std::span(raw).first(count * kOffsetBytes);
    const auto read = read_all(index_->file->native_fd(), bytes, uint64_t{number} * kOffsetBytes,
                               wait, index_->path);
    if (!read) return std::nullopt;
    if (!*read) return Result<uint64_t>(read->error());
    window_.resize(count);
    for (std::size_t i = 0; i < count; ++i)
      window_[i] = load_be<uint64_t>(&raw.at(i * kOffsetBytes));
    window_begin_ = number;
  }
  return window_[number - window_begin_];
}

std::optional<Result<OpenOutput::Range>> OpenOutput::range(uint32_t begin, uint32_t end,
                                                           Wait wait) {
  if (!index_) return Range{0, size()};
  const uint64_t entries = index_->stamp.size / kOffsetBytes;
  if (begin >= end || end >= entries) {
    return Result<Range>(make_error(
        Code::kInvalidArgument,
        fmt::format("it is beyond end {} of {}", entries == 0 ? 0 : entries - 1, index_->path)));
  }
  const MutexLock lock(mu_);
  const auto first = offset(begin, wait);
  if (!first) return std::nullopt;
  if (!*first) return Result<Range>(first->error());
  const auto last = offset(end, wait);
  if (!last) return std::nullopt;
  if (!*last) return Result<Range>(last->error());
  if (**first > **last || **last > size()) {
    return Result<Range>(make_error(
        Code::kCorruptIndex,
        fmt::format("{} says that partitions {} to {} are bytes {} to {} of {}, which has {}",
                    index_->path, begin, end, **first, **last, data_.path, size())));
  }
  return Range{**first, **last - **first};
}

// ---- all of them ---------------------------------------------------------------------------------

Status BlockFiles::find_roots() {
  for (const std::string& root : apps_.executors().rules().roots()) {
    on_disk_wait(root);
    std::error_code error;
    const std::filesystem::path path = std::filesystem::canonical(root, error);
    if (error || !std::filesystem::is_directory(path, error)) {
      return make_error(Code::kConfig, fmt::format("cannot open the directory {}: {}", root,
                                                   error ? error.message() : "it is none"));
    }
    roots_.push_back(path.string());
  }
  lanes_.resize(roots_.size());
  return ok();
}

asio::thread_pool& BlockFiles::threads(std::size_t lane) {
  auto& pool = lanes_.at(lane);
  if (!pool) pool = std::make_unique<asio::thread_pool>(limits_.threads_per_disk);
  return *pool;
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

FilePlace BlockFiles::place_of(const merge::Executor& executor, const std::string& name) const {
  const merge::SparkPlace place =
      merge::spark_place(name, executor.directories.size(), executor.sub_directories);
  const merge::LocalDir& directory = executor.directories[place.directory];
  return {fmt::format("{}/{}/{}", roots_.at(directory.root), directory.below,
                      merge::spark_path_below(place, name)),
          directory.root};
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
  return place_of(*stream.executor, data_name(stream.blocks, stream.blocks.chunk(chunk).map)).lane;
}

Result<std::shared_ptr<OpenOutput>> BlockFiles::open_map(const merge::Executor& executor,
                                                         merge::ShuffleId shuffle,
                                                         merge::MapId map) {
  return OpenOutput::open(
      apps_.io(), place_of(executor, spark_file_name(shuffle, map, merge::SparkFile::kData)),
      place_of(executor, spark_file_name(shuffle, map, merge::SparkFile::kIndex)));
}

Result<std::shared_ptr<OpenOutput>> BlockFiles::open(const Stream& stream, std::size_t map) {
  const BlockList& blocks = stream.blocks;
  const merge::Executor& executor = *stream.executor;
  if (blocks.kind == BlockList::Kind::kRdd)
    return OpenOutput::open(apps_.io(), place_of(executor, data_name(blocks, map)), std::nullopt);
  const merge::ShuffleKey shuffle{executor.app, shuffle_id(blocks.shuffle)};
  const merge::MapId id = map_id(blocks.maps[map]);
  TRY_ASSIGN(auto output, open_map(executor, shuffle.shuffle, id));
  TRY(apps_.check_committed(shuffle, id, output->data_path(), output->data_stamp(),
                            output->index_stamp()));
  return output;
}

BlockFiles::Found BlockFiles::output_of(Stream& stream, std::size_t map, Wait wait) {
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
  if (stale && stale->is_current(apps_.io())) {
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
  if (entries_.size() > limits_.open_outputs) {
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

CorruptionCause BlockFiles::diagnose(const merge::Executor& executor,
                                     const DiagnoseCorruption& request) {
  const auto checksum = Checksum::of(request.algorithm);
  if (!checksum) return CorruptionCause::kUnsupportedAlgorithm;
  const merge::ShuffleId shuffle = shuffle_id(request.shuffle);
  const merge::MapId map = map_id(request.map);
  auto look = [&]() -> Result<CorruptionCause> {
    const std::string name = merge::spark_checksum_name(shuffle, map, request.algorithm);
    TRY_ASSIGN(const int64_t written,
               written_checksum(apps_.io(), place_of(executor, name).path, request.reduce));
    TRY_ASSIGN(const auto output, open_map(executor, shuffle, map));
    TRY_ASSIGN(const int64_t computed, computed_checksum(*output, request.reduce, *checksum));
    if (computed != written) return CorruptionCause::kDisk;
    if (request.checksum != written) return CorruptionCause::kNetwork;
    return CorruptionCause::kChecksumVerified;
  };
  const auto cause = look();
  log_limited(
      LogLevel::kWarning, "spark.corruption_reported",
      {{"app", request.app},
       {"executor", request.executor},
       {"shuffle", request.shuffle},
       {"map", request.map},
       {"partition", request.reduce},
       {"cause", cause ? static_cast<int>(*cause) : 2},
       {"reason", cause ? std::string("compared with the checksum file") : cause.error().message}});
  return cause ? *cause : CorruptionCause::kUnknown;
}

}  // namespace shufflefs::net::ess
