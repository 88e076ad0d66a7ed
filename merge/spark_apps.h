// What the shuffle service needs of the domain: registering executors, which is how the committer
// learns the application of what lies in their directories, and removing blocks.
//
// Threads: coroutines on the reactor, find() on any. Ownership: the referred-to objects outlive it.
// Failure: errors name application and executor; a file that is not there is not counted, nothing
// else stops.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/runtime.h"
#include "merge/commits.h"
#include "merge/executors.h"
#include "merge/shuffle_table.h"
#include "merge/trash.h"

namespace shufflefs::merge {

class SparkApps {
 public:
  struct Parts {
    Runtime& runtime;
    FileIo& io;
    Executors& executors;
    Trash& trash;
    CommitSink& commits;
    // Makes the kernel forget names on the mount that are not there any more; may be empty.
    std::function<void(const std::vector<std::string>&)> forget_names = {};
    // Told of each registration, on the reactor; may be empty.
    std::function<void(const Executor&)> registered = {};
    ShuffleTable* table = nullptr;  // of what is committed; may be none
  };
  explicit SparkApps(Parts parts) : parts_(std::move(parts)) {}

  // Remembers the executor durably, then has its directories looked at for map outputs that were
  // waiting for their application.
  [[nodiscard]] Task<Status> register_executor(ExecutorRecord record, bool exclusive);
  [[nodiscard]] ExecutorRef find(std::string_view app, std::string_view id) const {
    return parts_.executors.find(app, id);
  }
  // Whether files that were opened are the map output that was committed under this path. If not it
  // is lost (kCorruptData). No I/O.
  [[nodiscard]] Status check_committed(const ShuffleKey& shuffle, MapId map,
                                       const std::string& data_path, const FileStamp& data,
                                       const FileStamp& index);
  // Puts the files of these bare names into the trash (those outside the mount are unlinked) and
  // returns how many there were. A data file's checksum file goes with it, and is not counted.
  [[nodiscard]] Task<std::size_t> remove_files(ExecutorRef executor,
                                               std::vector<std::string> names);
  [[nodiscard]] const Executors& executors() const { return parts_.executors; }
  [[nodiscard]] FileIo& io() { return parts_.io; }

 private:
  void leave_directories(const Executors::Added& added);
  [[nodiscard]] bool remove_file(const Executor& executor, const std::string& name);

  Parts parts_;
};

}  // namespace shufflefs::merge
