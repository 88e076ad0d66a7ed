// The executors that have registered: application and id -> local directories. It says in which
// files an executor's blocks are, and to which application the files below a directory belong.
// Executors register once in their life, so the list survives restarts and SIGKILL: each has a file
// (docs/formats.md), which is written before the registration is answered.
//
// Threads: any. add(), set_process(), forget() and load() block on the disk. Failure: add() refuses
// what the rules of LocalDirs refuse. A file that cannot be written is logged
// (executors.not_written) and the registration holds until the next restart: refusing it would kill
// the executor. Files are not synced: a crash of the machine ends the executors too. Memory:
// bounded by kMaxExecutors and by the bounds of what a registration may hold.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file_io.h"
#include "base/hash.h"
#include "base/mutex.h"
#include "merge/ids.h"
#include "merge/spark_files.h"

namespace shufflefs::merge {

inline constexpr std::size_t kMaxExecutors = 100'000;
inline constexpr std::size_t kMaxLocalDirs = 256;
inline constexpr uint32_t kMaxSubDirectories = 1U << 16U;

// A process as the kernel names it for ever: a pid alone may be used again.
struct ProcessMark {
  int32_t pid = 0;
  uint64_t start_time = 0;  // in ticks since the boot, /proc/<pid>/stat
  friend bool operator==(const ProcessMark&, const ProcessMark&) = default;
};

// A registration as it came in, and as its file holds it.
struct ExecutorRecord {
  std::string app;
  std::string id;
  std::vector<std::string> directories;  // as registered
  uint32_t sub_directories = 0;
  std::string shuffle_manager;
  uint64_t registered_ms = 0;
  std::optional<ProcessMark> process;
};

struct Executor {
  AppId app;
  std::string id;
  std::vector<LocalDir> directories;
  uint32_t sub_directories = 0;
  std::string shuffle_manager;
  uint64_t registered_ms = 0;          // since 1970, for people: nothing is decided by it
  std::optional<ProcessMark> process;  // which process it is, if that could be seen
};
using ExecutorRef = std::shared_ptr<const Executor>;

class Executors {
 public:
  // `root` is the directory of the executors' files; if it is empty, nothing is kept on disk.
  Executors(FileIo& io, std::string root, LocalDirs rules);

  // Reads the files. Left out are registrations whose directories are not among ours any more, and
  // files that are damaged.
  [[nodiscard]] Status load();
  struct Added {
    ExecutorRef executor;
    ExecutorRef replaced;  // the same executor as it was registered before; or nothing
  };
  // A second registration of the same executor replaces the first. With `exclusive`, a directory
  // that belongs to another application is refused.
  [[nodiscard]] Result<Added> add(const ExecutorRecord& record, bool exclusive);
  // Remembers which process it is, unless it has been forgotten or has registered anew meanwhile.
  void set_process(const Executor& executor, const ProcessMark& process);
  void forget(const Executor& executor);

  // Finding an executor is a sign of life of its application, and so is reading its partitions.
  [[nodiscard]] ExecutorRef find(std::string_view app, std::string_view id) const;
  void give_sign(const AppId& app) const;
  // The number of the application's last sign of life; 0 if it is not known. A later one has
  // another.
  [[nodiscard]] uint64_t last_sign(const AppId& app) const;
  // The application whose executor has registered exactly this directory of a disk.
  [[nodiscard]] std::optional<AppId> application_of(const std::string& backing_directory) const;
  [[nodiscard]] std::vector<ExecutorRef> all() const;
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t applications() const;
  [[nodiscard]] const LocalDirs& rules() const { return rules_; }

 private:
  [[nodiscard]] Result<Executor> check(const ExecutorRecord& record) const;
  [[nodiscard]] Status check_exclusive(const Executor& executor) const REQUIRES(mu_);
  void give_sign_locked(std::string_view app) const REQUIRES(mu_);
  [[nodiscard]] ExecutorRef find_locked(std::string_view app, std::string_view id) const
      REQUIRES(mu_);
  void put(ExecutorRef executor) REQUIRES(mu_);
  void take_out(const Executor& executor) REQUIRES(mu_);
  [[nodiscard]] std::string path_of(const std::string& app, const std::string& id) const;
  [[nodiscard]] Result<std::vector<ExecutorRecord>> read_files() REQUIRES(files_mu_);
  void write_file(const Executor& executor) REQUIRES(files_mu_) EXCLUDES(mu_);
  void remove_file(const Executor& executor) REQUIRES(files_mu_) EXCLUDES(mu_);

  FileIo& io_;
  const std::string root_;
  const LocalDirs rules_;
  // Who changes something holds it to the end, so that files change in the same order.
  Mutex files_mu_ ACQUIRED_BEFORE(mu_);
  mutable Mutex mu_;  // never held over I/O: the reactor takes it
  struct Application {
    std::map<std::string, ExecutorRef, std::less<>> executors;  // by id
    mutable uint64_t last_sign = 0;
  };
  std::map<std::string, Application, std::less<>> applications_ GUARDED_BY(mu_);
  std::size_t count_ GUARDED_BY(mu_) = 0;
  mutable uint64_t signs_ GUARDED_BY(mu_) = 0;  // of all applications
  // By path on the disk. A directory is registered by one executor.
  std::unordered_map<std::string, ExecutorRef, SeededHash> by_directory_ GUARDED_BY(mu_);
};

}  // namespace shufflefs::merge
