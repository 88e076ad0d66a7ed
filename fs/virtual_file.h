// What stands behind an open virtual file. Every one is a snapshot taken at its opening: its size
// does not change, and a read gives all the bytes that were asked for, fewer only at the end, or an
// error.
//
// Threads: the members say. Ownership: shared, so that a read under way keeps it; close() before
// the last release.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/runtime.h"
#include "fs/namespace.h"
#include "merge/partition_stream.h"

namespace shufflefs::fs {

// What an open file or directory is made of, for the worker that goes on with it after our death.
enum class SnapshotKind : uint32_t {
  kText = 1,     // the bytes themselves
  kBacking,      // the descriptor
  kStream,       // an encoded plan (merge/plan_codec.h)
  kListing = 5,  // names, each ended by a newline
};

struct Snapshot {
  SnapshotKind kind{};
  std::string bytes;
  int fd = -1;  // where the content is a descriptor; the file's
};

class VirtualFile {
 public:
  VirtualFile() = default;
  virtual ~VirtualFile() = default;
  VirtualFile(const VirtualFile&) = delete;
  VirtualFile& operator=(const VirtualFile&) = delete;

  [[nodiscard]] virtual uint64_t size() const = 0;      // any thread
  [[nodiscard]] virtual Snapshot snapshot() const = 0;  // any thread

  // Any thread. The whole content, where it is in memory; a descriptor to read from, where there is
  // one (else -1). Where neither is, the bytes come from read().
  [[nodiscard]] virtual std::optional<std::string_view> text() const { return std::nullopt; }
  [[nodiscard]] virtual int descriptor() const { return -1; }

  // Reactor.
  [[nodiscard]] virtual Task<Result<Buffer>> read(uint64_t offset, uint32_t size);
  [[nodiscard]] virtual Task<void> close();
};

// A text in memory.
[[nodiscard]] std::shared_ptr<VirtualFile> make_text_file(std::string text);
// A file of this node's disks, `size` bytes of it.
[[nodiscard]] std::shared_ptr<VirtualFile> make_backing_file(Fd fd, uint64_t size);
// A partition. A failing read is logged: partition.incomplete, or partition.read_failed. `large`:
// what is done about blocks that the stream alone checks only when their last piece has come.
enum class LargeBlocks {
  kReadTwice,   // checked_stream.h
  kAsTheyCome,  // for readers that check by themselves
};
[[nodiscard]] std::shared_ptr<VirtualFile> make_stream_file(
    Runtime& runtime, std::shared_ptr<merge::PartitionStream> stream, LargeBlocks large);

}  // namespace shufflefs::fs
