// The journal of executor registrations (docs/formats.md): records are only appended, each with its
// length and checksum. What a crash has torn is at the end, and is cut off at the next start;
// nothing before it is lost. When more of it is past than present, it is written anew under another
// name and renamed.
//
// Not thread-safe. Everything blocks on the disk. Failure: an error with the path; after a failed
// append the next one writes the whole file anew. Not synced, as nothing is here: a crash of the
// machine ends the executors too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"

namespace shufflefs::merge {

// A process as the kernel names it for ever: a pid alone may be used again.
struct ProcessMark {
  int32_t pid = 0;
  uint64_t start_time = 0;  // in ticks since the boot, /proc/<pid>/stat
  friend bool operator==(const ProcessMark&, const ProcessMark&) = default;
};

struct ExecutorRecord {
  std::string app;
  std::string id;
  std::vector<std::string> directories;  // as registered
  uint32_t sub_directories = 0;
  std::string shuffle_manager;
  uint64_t registered_ms = 0;
  std::optional<ProcessMark> process;
  friend bool operator==(const ExecutorRecord&, const ExecutorRecord&) = default;
};

class ExecutorJournal {
 public:
  // With an empty path it keeps nothing.
  ExecutorJournal(FileIo& io, std::string path) : io_(io), path_(std::move(path)) {}

  // What has been added and not been forgotten, in the order of the first registration; cuts off a
  // torn end.
  [[nodiscard]] Result<std::vector<ExecutorRecord>> load();
  // `live` is everything that shall be in the journal with this change made, for the case that it
  // must be written anew.
  template <class Live>
  [[nodiscard]] Status add(const ExecutorRecord& record, Live live) {
    return change(encode_added(record), live);
  }
  template <class Live>
  [[nodiscard]] Status forget(const std::string& app, const std::string& id, Live live) {
    return change(encode_forgotten(app, id), live);
  }

 private:
  using Bytes = std::vector<std::byte>;
  [[nodiscard]] static Bytes encode_added(const ExecutorRecord& record);
  [[nodiscard]] static Bytes encode_forgotten(const std::string& app, const std::string& id);
  template <class Live>
  [[nodiscard]] Status change(Bytes payload, Live live) {
    if (path_.empty()) return ok();
    if (!must_rewrite()) return append(payload);
    return rewrite(live());
  }
  [[nodiscard]] bool must_rewrite() const;
  [[nodiscard]] Status append(const Bytes& payload);
  [[nodiscard]] Status rewrite(const std::vector<ExecutorRecord>& live);

  FileIo& io_;
  const std::string path_;
  std::unique_ptr<File> file_;  // none: the next change writes the whole file
  uint64_t end_ = 0;            // where the next record goes
  uint64_t compact_bytes_ = 0;  // the file's size when it was last free of what is past
};

}  // namespace shufflefs::merge
