// Makes disks read in large pieces. Before a block is sent it is looked whether its bytes are in
// memory; if not, the disk is asked at once for the whole neighbourhood of what streams want of
// that file: the other blocks of the same request and those of other reducers, merged where they
// lie close together. So many small blocks become one read, and several reducers share one pass.
//
// Threads: any. Ownership: streams are held weakly. Failure: none; a disk error shows when the
// block is sent. Cost: a block in memory costs one to eight preadv2(RWF_NOWAIT) of a byte; a block
// that is not, a walk over the streams that read from the same executor and shuffle (at most
// kMaxStreams).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "net/ess/block_files.h"

namespace shufflefs::net::ess {

class ReadAhead {
 public:
  explicit ReadAhead(EssMetrics& metrics) : metrics_(metrics) {}

  // Tells of what a new stream will want; until it is gone.
  void add(const std::shared_ptr<Stream>& stream);
  void clean_up();

  // Whether the bytes are in memory, as far as can be told by probing without waiting.
  [[nodiscard]] static bool in_memory(const OpenOutput& output, uint64_t offset, uint64_t length);
  // Asks for the neighbourhood and waits until the bytes themselves are there. Blocks on the disk.
  void fetch(const Stream& stream, OpenOutput& output, uint64_t offset, uint64_t length);
  // The same within a large block, of which `wanted` bytes are still to come.
  void fetch_run(OpenOutput& output, uint64_t offset, uint64_t length, uint64_t wanted);

  struct Span {
    uint64_t begin = 0;
    uint64_t end = 0;
    friend bool operator==(const Span&, const Span&) = default;
  };
  // The run of `wanted` spans around `around`, joined where the gaps are small, of bounded length.
  // For tests.
  [[nodiscard]] static Span neighbourhood(std::vector<Span> wanted, Span around);

 private:
  using Key = std::tuple<std::string, std::string, int32_t>;  // application, executor, shuffle

  [[nodiscard]] std::vector<std::shared_ptr<Stream>> readers_of(const BlockList& blocks);
  void ask(OpenOutput& output, const Span& span, uint64_t offset, uint64_t length);
  static void collect(Stream& stream, int64_t map, OpenOutput& output, std::vector<Span>& spans);

  EssMetrics& metrics_;
  Mutex mu_;
  std::map<Key, std::vector<std::weak_ptr<Stream>>> streams_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::net::ess
