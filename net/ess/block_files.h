// From the name of a block to its bytes on a disk: looks the executor up, finds the file as Spark
// would, opens it (or takes it from a bounded cache of open files) and reads the index. And the
// lanes, which are the threads on which that may wait: a few for each disk, so that a sick disk
// holds up nobody else's blocks.
//
// Threads: any, concurrently, but where a method says more; find_roots() before anything else.
// Failure: every error names application, shuffle, map, partition, executor, file and errno. Cost:
// a block of an open file is two look-ups. A file stays open for at most a few seconds after its
// last use, so that what was removed frees its space; a file that has changed is opened anew. Two
// descriptors and at most 4 KiB of the index for each open map output.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "base/runtime.h"
#include "merge/spark_apps.h"
#include "net/ess/limits.h"
#include "net/ess/protocol.h"

namespace shufflefs::net::ess {

// Whether a call may wait for a disk. If not, it says so by returning nothing.
enum class Wait { kNo, kYes };

struct FilePlace {
  std::string path;      // on the disk
  std::size_t lane = 0;  // of that disk
};

// A map output (data and index) or another block file, open for sending. Shared; the descriptors
// are closed with the last holder.
class OpenOutput {
 public:
  // `index` is absent for a block that is a file of its own. Blocks on the disk.
  [[nodiscard]] static Result<std::shared_ptr<OpenOutput>> open(FileIo& io, FilePlace data,
                                                                std::optional<FilePlace> index);

  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  // Where the partitions [begin, end) are in the data file, checked against its size. Without an
  // index, the whole file.
  [[nodiscard]] std::optional<Result<Range>> range(uint32_t begin, uint32_t end, Wait wait);

  // Whether the names still lead to the same files, unchanged. Blocks on the disk.
  [[nodiscard]] bool is_current(FileIo& io) const;

  [[nodiscard]] int data_fd() const { return data_.file->native_fd(); }
  [[nodiscard]] uint64_t size() const { return data_.stamp.size; }
  [[nodiscard]] std::size_t lane() const { return lane_; }
  [[nodiscard]] const std::string& data_path() const { return data_.path; }
  [[nodiscard]] const FileStamp& data_stamp() const { return data_.stamp; }
  // REQUIRES: it has an index.
  [[nodiscard]] const FileStamp& index_stamp() const { return index_->stamp; }

 private:
  struct Part {
    std::string path;
    std::unique_ptr<File> file;
    FileStamp stamp;
  };
  OpenOutput(Part data, std::optional<Part> index, std::size_t lane)
      : data_(std::move(data)), index_(std::move(index)), lane_(lane) {}

  [[nodiscard]] static Result<Part> open_part(FileIo& io, std::string path);
  // The offset of this number, out of the window if it is there.
  [[nodiscard]] std::optional<Result<uint64_t>> offset(uint32_t number, Wait wait) REQUIRES(mu_);

  const Part data_;
  const std::optional<Part> index_;
  const std::size_t lane_;
  Mutex mu_;
  std::vector<uint64_t> window_ GUARDED_BY(mu_);
  uint32_t window_begin_ GUARDED_BY(mu_) = 0;
};

// The blocks that one request has asked for, to be fetched chunk by chunk over the connection that
// asked. Shared by the session and the chunks that wait to be sent.
struct Stream {
  // ---- constant after construction ----
  int64_t id = 0;
  BlockList blocks;
  Usage::Share share;

  // ---- the reactor's ----
  std::vector<bool> asked;  // chunks that have been asked for
  std::size_t left = 0;     // chunks that have not

  // ---- the sender's, of which there is one at a time ----
  merge::ExecutorRef executor;
  std::shared_ptr<OpenOutput> output;  // of map number output_map
  std::size_t output_map = SIZE_MAX;

  // ---- any thread ----
  // The numbers of the maps in the order of their ids; made when somebody first looks for one.
  Mutex mu;
  std::vector<uint32_t> by_map GUARDED_BY(mu);
};

struct Block {
  std::shared_ptr<OpenOutput> output;
  uint64_t offset = 0;
  uint64_t length = 0;
};

class BlockFiles {
 public:
  BlockFiles(Runtime& runtime, merge::SparkApps& apps, const EssLimits& limits)
      : runtime_(runtime), apps_(apps), limits_(limits) {}

  // Fails if the directories of LocalDirs are not there. Makes a lane for each.
  [[nodiscard]] Status find_roots();

  // Runs `work` on a thread of the lane, behind what waits there. Not cancellable. Reactor.
  template <class Work>
  [[nodiscard]] Task<std::invoke_result_t<Work>> run_on(std::size_t lane, Work work) {
    auto post = [this, lane](auto run) { asio::post(threads(lane), std::move(run)); };
    return offload_by(runtime_, std::move(post), std::move(work));
  }

  // Where a chunk's bytes are. Nothing if that cannot be known without waiting for a disk and
  // `wait` forbids it; then lane_of() says on whose lane to ask again. An empty block is an error:
  // a client takes it for a failure without a reason.
  [[nodiscard]] std::optional<Result<Block>> find(Stream& stream, std::size_t chunk, Wait wait);
  [[nodiscard]] std::size_t lane_of(Stream& stream, std::size_t chunk);

  // The file of this bare name in the executor's directories.
  [[nodiscard]] FilePlace place_of(const merge::Executor& executor, const std::string& name) const;

  // Why a block that a client found corrupt is corrupt: reads it again and compares with the
  // checksum that was written with it. Any failure is kUnknown, as in the JVM's service. Blocks for
  // as long as reading the block takes: call on its lane.
  [[nodiscard]] CorruptionCause diagnose(const merge::Executor& executor,
                                         const DiagnoseCorruption& request);

  // Closes what has not been used for a while. Every few seconds.
  void close_idle();
  // Files of the executor have been removed.
  void close_files_of(const merge::Executor& executor);
  [[nodiscard]] std::size_t open_files() const;

  // "app-1 shuffle 3 map 17 partition 5 of executor 2": for messages.
  [[nodiscard]] static std::string describe(const BlockList& blocks, std::size_t chunk);

 private:
  using Found = std::optional<Result<std::shared_ptr<OpenOutput>>>;
  struct Key {
    const merge::Executor* executor = nullptr;
    BlockList::Kind kind{};
    int64_t map = 0;
    int32_t shuffle = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Entry {
    Key key;
    merge::ExecutorRef executor;  // so that its address is not used again
    std::shared_ptr<OpenOutput> output;
    TimePoint checked;
    TimePoint used;
  };
  using Entries = std::list<Entry>;

  [[nodiscard]] asio::thread_pool& threads(std::size_t lane);
  [[nodiscard]] static Key key_of(const Stream& stream, std::size_t map);
  [[nodiscard]] Found output_of(Stream& stream, std::size_t map, Wait wait);
  [[nodiscard]] Result<std::shared_ptr<OpenOutput>> open(const Stream& stream, std::size_t map);
  [[nodiscard]] Result<std::shared_ptr<OpenOutput>> open_map(const merge::Executor& executor,
                                                             merge::ShuffleId shuffle,
                                                             merge::MapId map);
  [[nodiscard]] Status find_executor(Stream& stream) const;
  void remember(const Key& key, const merge::ExecutorRef& executor,
                const std::shared_ptr<OpenOutput>& output);

  Runtime& runtime_;
  merge::SparkApps& apps_;
  const EssLimits& limits_;
  std::vector<std::string> roots_;  // constant after find_roots(); without links
  mutable Mutex mu_;
  Entries entries_ GUARDED_BY(mu_);  // last used first
  std::unordered_map<Key, Entries::iterator, KeyHash> by_key_ GUARDED_BY(mu_);
  // One for each root, made when it is first used. The reactor's. Joined first of all.
  std::vector<std::unique_ptr<asio::thread_pool>> lanes_;
};

}  // namespace shufflefs::net::ess
