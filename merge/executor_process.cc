#include "merge/executor_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

// A file of a process, by its directory below /proc: that stays this process's, and reads nothing
// when it has ended. Nothing if it is longer than `max_bytes` or cannot be read.
std::optional<std::string> read_text(const Fd& process, const char* name, std::size_t max_bytes) {
  const Fd file(::openat(process.get(), name, O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  constexpr std::size_t kStep = 4096;
  std::string text;
  while (true) {
    const std::size_t size = text.size();
    if (size > max_bytes) return std::nullopt;
    text.resize(size + kStep);
    const ssize_t count = ::read(file.get(), text.data() + size, kStep);
    text.resize(size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) return std::nullopt;
    if (count == 0) return text;
  }
}

// Field 22 of /proc/<pid>/stat, counted behind the name in brackets, which may hold anything.
std::optional<uint64_t> start_time(const Fd& process) {
  constexpr std::size_t kMaxStatBytes = 8192;
  const auto stat = read_text(process, "stat", kMaxStatBytes);
  const std::size_t bracket = stat ? stat->rfind(") ") : std::string::npos;
  if (bracket == std::string::npos) return std::nullopt;
  constexpr std::size_t kFieldsBetween = 19;
  const auto fields = split(std::string_view(*stat).substr(bracket + 2), ' ');
  if (fields.size() <= kFieldsBetween) return std::nullopt;
  return parse_decimal(fields[kFieldsBetween]);
}

Fd open_process(int32_t pid) {
  return Fd(
      ::open(fmt::format("/proc/{}", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

// The last, as Spark's own arguments are behind those of the JVM, which users choose.
std::string_view value_of(const std::vector<std::string_view>& arguments, std::string_view option) {
  for (std::size_t i = arguments.size(); i-- > 1;) {
    if (arguments[i - 1] == option) return arguments[i];
  }
  return {};
}

class Search {
 public:
  Search(std::span<const WantedProcess> wanted, const SearchLimits& limits) : limits_(limits) {
    for (std::size_t i = 0; i < wanted.size(); ++i)
      wanted_[wanted[i].uid][{wanted[i].app, wanted[i].executor}].push_back(i);
  }

  ProcessesFound run() {
    const auto deadline = std::chrono::steady_clock::now() + limits_.time;
    std::error_code error;
    std::filesystem::directory_iterator it("/proc", error);
    for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
      const auto pid = parse_decimal(it->path().filename().native(), INT32_MAX);
      if (!pid) continue;
      if (found_.looked_at >= limits_.processes || std::chrono::steady_clock::now() > deadline) {
        found_.complete = false;
        break;
      }
      ++found_.looked_at;
      look_at(static_cast<int32_t>(*pid));
    }
    return std::move(found_);
  }

 private:
  void look_at(int32_t pid) {
    const Fd process = open_process(pid);
    struct stat info{};
    if (!process || ::fstat(process.get(), &info) != 0) return;
    const auto of_owner = wanted_.find(info.st_uid);
    if (of_owner == wanted_.end()) return;
    const auto line = read_text(process, "cmdline", limits_.command_line_bytes);
    if (!line) return;
    const auto arguments = split(*line, '\0');
    const auto it = of_owner->second.find({std::string(value_of(arguments, "--app-id")),
                                           std::string(value_of(arguments, "--executor-id"))});
    if (it == of_owner->second.end()) return;
    const auto started = start_time(process);
    if (!started) return;
    // A shell that has started it may carry the same words: the younger one is the executor.
    const ProcessMark mark{pid, *started};
    for (const std::size_t place : it->second) {
      const auto [known, fresh] = found_.marks.try_emplace(place, mark);
      if (!fresh && mark.start_time >= known->second.start_time) known->second = mark;
    }
  }

  const SearchLimits limits_;
  using Words = std::pair<std::string, std::string>;  // application and executor
  std::map<uint32_t, std::map<Words, std::vector<std::size_t>>> wanted_;
  ProcessesFound found_;
};

// Who made its directories; nothing if none of them is there.
std::optional<uint32_t> owner_of(FileIo& io, const LocalDirs& rules, const Executor& executor) {
  for (const LocalDir& directory : executor.directories) {
    if (const auto info = io.stat(rules.backing(directory))) return info->uid;
  }
  return std::nullopt;
}

}  // namespace

ProcessesFound find_executor_processes(std::span<const WantedProcess> wanted,
                                       const SearchLimits& limits) {
  return Search(wanted, limits).run();
}

bool is_gone(const ProcessMark& process) {
  if (const Fd directory = open_process(process.pid)) {
    if (const auto started = start_time(directory)) return *started != process.start_time;
  }
  // That nothing could be read may have other reasons.
  return ::kill(process.pid, 0) != 0 && errno == ESRCH;
}

void ExecutorFinder::look_for(const Executor& executor) {
  pending_.emplace(executor.app.str(), executor.id);
  news_->wake();
}

Task<void> ExecutorFinder::run() {
  for (const ExecutorRef& executor : executors_.all()) {
    if (!executor->process) pending_.emplace(executor->app.str(), executor->id);
  }
  while (true) {
    while (pending_.empty()) co_await news_->wait_for(std::chrono::hours(1));
    (void)co_await offload(runtime_, [this, names = std::exchange(pending_, {})]() -> Status {
      search(names);
      return ok();
    });
  }
}

void ExecutorFinder::search(const Names& names) const {
  std::vector<ExecutorRef> executors;
  std::vector<WantedProcess> wanted;
  for (const auto& [app, id] : names) {
    ExecutorRef executor = executors_.find(app, id);
    const auto owner = executor ? owner_of(io_, executors_.rules(), *executor) : std::nullopt;
    if (!owner) continue;
    wanted.push_back({app, id, *owner});
    executors.push_back(std::move(executor));
  }
  if (wanted.empty()) return;
  const ProcessesFound found = find_executor_processes(wanted, limits_);
  for (const auto& [place, mark] : found.marks) {
    executors_.set_process(*executors[place], mark);
    log_debug("executor.process_found", {{"app", executors[place]->app.str()},
                                         {"executor", executors[place]->id},
                                         {"pid", mark.pid}});
  }
  if (!found.complete)
    log_warning("executors.search_cut", {{"executors", wanted.size()},
                                         {"found", found.marks.size()},
                                         {"processes_looked_at", found.looked_at}});
}

}  // namespace shufflefs::merge
