// What a node must not forget of a shuffle over a restart: small append-only files, one for each
// shuffle, below <first data directory>/table/. Each record has a length and a checksum; a torn end
// is cut off. Bytes: docs/formats.md.
//
// append() only remembers; flush() writes. Whoever tells another node, or a caller, of an event has
// flushed it before. Like Spark's own files nothing is fsynced: a killed process loses nothing, a
// machine that loses power may lose the last seconds, as it may of the map outputs themselves.
//
// Threads: any. append() takes a lock that is never held over I/O; flush(), load(), rewrite() and
// remove() block on the disk, one at a time. Failure: what could not be written is kept and written
// by the next flush().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "base/mutex.h"
#include "merge/ids.h"
#include "merge/logical_clock.h"

namespace shufflefs::merge {

class TableLog {
 public:
  // A shuffle, or what concerns a whole application.
  struct Name {
    AppId app;
    std::optional<ShuffleId> shuffle;
    friend auto operator<=>(const Name&, const Name&) = default;
  };
  using Bytes = std::vector<std::byte>;

  TableLog(FileIo& io, std::string root, LogicalClock& clock)
      : io_(io), root_(std::move(root)), clock_(clock) {}

  // What the logical clock was when the log was empty; nothing if it is new, or was lost.
  [[nodiscard]] Result<std::optional<uint64_t>> begun();
  [[nodiscard]] Status write_begun(uint64_t number);
  // Calls `found` with each record, file by file, in the order in which they were appended. An
  // error only if the disk cannot be read: who does not know its own history must not run.
  [[nodiscard]] Status load(
      const std::function<void(const Name&, std::span<const std::byte>)>& found);

  // `number`: the largest number of the logical clock in the record.
  void append(const Name& name, const Bytes& record, uint64_t number);
  // Writes everything that was appended before the call.
  [[nodiscard]] Status flush();
  // Nothing is worth keeping of it any more.
  [[nodiscard]] Status remove(const Name& name);
  // Replaces all records of the file. Before anything is appended.
  [[nodiscard]] Status rewrite(const Name& name, const std::vector<Bytes>& records);
  // How many bytes the file has.
  [[nodiscard]] uint64_t bytes(const Name& name) const EXCLUDES(writing_);

 private:
  [[nodiscard]] std::string path_of(const Name& name) const;
  [[nodiscard]] Status load_file(
      const Name& name, const std::function<void(const Name&, std::span<const std::byte>)>& found)
      REQUIRES(writing_);
  [[nodiscard]] Status write(const Name& name, const Bytes& bytes) REQUIRES(writing_);

  FileIo& io_;
  const std::string root_;
  LogicalClock& clock_;
  mutable Mutex writing_;                               // held over I/O; by disk threads only
  std::map<Name, uint64_t> ends_ GUARDED_BY(writing_);  // of the files that are there
  Mutex mu_ ACQUIRED_AFTER(writing_);
  std::map<Name, Bytes> unwritten_ GUARDED_BY(mu_);
  uint64_t number_ GUARDED_BY(mu_) = 0;  // the largest in unwritten_
};

}  // namespace shufflefs::merge
