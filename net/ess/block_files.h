// From the name of a block to its bytes on a disk: looks the executor up, finds the file as Spark
// would, opens it (or takes it from a bounded cache of open files) and reads the index.
//
// Threads: any, concurrently; open_roots() before. Failure: every error names application, shuffle,
// map, partition, executor, file and errno. Cost: a block of an open file is two look-ups. A file
// stays open for at most a few seconds after its last use, so that what was removed frees its
// space; a file that has changed is opened anew.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "merge/spark_apps.h"
#include "net/ess/stream.h"

namespace shufflefs::net::ess {

struct Block {
  std::shared_ptr<OpenOutput> output;
  uint64_t offset = 0;
  uint64_t length = 0;
};

class BlockFiles {
 public:
  BlockFiles(Runtime& runtime, const merge::SparkApps& apps, std::size_t most_open);

  [[nodiscard]] Status open_roots();
  // There is one lane for each root of merge::LocalDirs.
  [[nodiscard]] std::size_t lanes() const { return apps_.executors().rules().roots().size(); }

  // Where a chunk's bytes are. Nothing if that cannot be known without waiting for a disk and
  // `wait` forbids it; then lane_of() says on whose lane to ask again. An empty block is an error:
  // a client takes it for a failure without a reason.
  [[nodiscard]] std::optional<Result<Block>> find(Stream& stream, std::size_t chunk, Wait wait);
  [[nodiscard]] std::size_t lane_of(Stream& stream, std::size_t chunk);

  // The file of this bare name in the executor's directories.
  [[nodiscard]] FilePlace place_of(const merge::Executor& executor, const std::string& name,
                                   std::size_t* lane = nullptr) const;

  // Closes what has not been used for a while. Reactor, every few seconds.
  void close_idle();
  // Files of the executor have been removed.
  void close_files_of(const merge::Executor& executor);
  [[nodiscard]] std::size_t open_files() const;

  // "app-1 shuffle 3 map 17 partition 5 of executor 2": for messages.
  [[nodiscard]] static std::string describe(const BlockList& blocks, std::size_t chunk);

 private:
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

  [[nodiscard]] static Key key_of(const Stream& stream, std::size_t map);
  [[nodiscard]] std::optional<Result<std::shared_ptr<OpenOutput>>> output_of(Stream& stream,
                                                                             std::size_t map,
                                                                             Wait wait);
  [[nodiscard]] Result<std::shared_ptr<OpenOutput>> open(const Stream& stream,
                                                         std::size_t map) const;
  [[nodiscard]] Status find_executor(Stream& stream) const;
  void remember(const Key& key, const merge::ExecutorRef& executor,
                const std::shared_ptr<OpenOutput>& output);

  Runtime& runtime_;
  const merge::SparkApps& apps_;
  const std::size_t most_open_;
  std::vector<Fd> roots_;  // constant after open_roots()
  mutable Mutex mu_;
  Entries entries_ GUARDED_BY(mu_);  // last used first
  std::unordered_map<Key, Entries::iterator, KeyHash> by_key_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::net::ess
