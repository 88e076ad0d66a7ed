#include "merge/executors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kLongestId = 200;
constexpr std::size_t kLongestManager = 4096;

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c > 0x20 && c != 0x7f; });
}

ExecutorRecord record_of(const Executor& executor) {
  ExecutorRecord record{executor.app.str(),
                        executor.id,
                        {},
                        executor.sub_directories,
                        executor.shuffle_manager,
                        executor.registered_ms,
                        executor.process};
  for (const LocalDir& directory : executor.directories)
    record.directories.push_back(directory.registered);
  return record;
}

}  // namespace

Executors::Executors(FileIo& io, std::string journal_path, LocalDirs rules)
    : rules_(std::move(rules)), journal_(io, std::move(journal_path)) {}

Status Executors::load() {
  const MutexLock changing(journal_mu_);
  TRY_ASSIGN(const std::vector<ExecutorRecord> records, journal_.load());
  const MutexLock lock(mu_);
  for (const ExecutorRecord& record : records) {
    auto executor = check(record);
    if (executor)
      put(std::make_shared<const Executor>(std::move(*executor)));
    else
      log_warning(
          "executors.left_out",
          {{"app", record.app}, {"executor", record.id}, {"reason", executor.error().message}});
  }
  return ok();
}

Result<Executor> Executors::check(const ExecutorRecord& record) const {
  Executor executor;
  TRY_ASSIGN(executor.app, AppId::parse(record.app));
  auto bad = [&](std::string_view what) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("cannot register executor '{}' of {}: {}",
                                  record.id.substr(0, 80), record.app, what));
  };
  if (record.id.empty() || record.id.size() > kLongestId || !is_printable(record.id))
    return bad(fmt::format("its id is not 1 to {} printable characters", kLongestId));
  if (record.directories.empty() || record.directories.size() > kMostLocalDirs)
    return bad(fmt::format("it names {} local directories, 1 to {} are allowed",
                           record.directories.size(), kMostLocalDirs));
  if (record.sub_directories == 0 || record.sub_directories > kMostSubDirectories)
    return bad(fmt::format("{} sub-directories per local directory, 1 to {} are allowed",
                           record.sub_directories, kMostSubDirectories));
  if (record.shuffle_manager.size() > kLongestManager)
    return bad("the name of its shuffle manager is too long");
  for (const std::string& directory : record.directories) {
    auto translated = rules_.translate(directory);
    if (!translated) return bad(translated.error().message);
    executor.directories.push_back(std::move(*translated));
  }
  executor.id = record.id;
  executor.sub_directories = record.sub_directories;
  executor.shuffle_manager = record.shuffle_manager;
  executor.registered_ms = record.registered_ms;
  executor.process = record.process;
  return executor;
}

Status Executors::check_exclusive(const Executor& executor) const {
  for (const LocalDir& directory : executor.directories) {
    const auto it = by_directory_.find(rules_.backing(directory));
    if (it == by_directory_.end() || it->second->app == executor.app) continue;
    return make_error(Code::kPermission,
                      fmt::format("cannot register executor '{}' of {}: {} belongs to another "
                                  "application",
                                  executor.id, executor.app.str(), directory.registered));
  }
  return ok();
}

void Executors::put(ExecutorRef executor) {
  if (const ExecutorRef before = find_locked(executor->app.str(), executor->id)) take_out(*before);
  for (const LocalDir& directory : executor->directories)
    by_directory_[rules_.backing(directory)] = executor;
  Application& application = applications_[executor->app.str()];
  application.last_sign = ++signs_;
  application.executors[executor->id] = std::move(executor);
  ++count_;
}

void Executors::take_out(const Executor& executor) {
  const auto app = applications_.find(executor.app.str());
  if (app == applications_.end()) return;
  auto& executors = app->second.executors;
  const auto it = executors.find(executor.id);
  if (it == executors.end()) return;
  for (const LocalDir& directory : it->second->directories) {
    const auto place = by_directory_.find(rules_.backing(directory));
    if (place != by_directory_.end() && place->second == it->second) by_directory_.erase(place);
  }
  executors.erase(it);
  --count_;
  if (executors.empty()) applications_.erase(app);
}

std::vector<ExecutorRecord> Executors::records() const {
  const MutexLock lock(mu_);
  std::vector<ExecutorRecord> records;
  records.reserve(count_);
  for (const auto& [app, application] : applications_) {
    for (const auto& [id, executor] : application.executors)
      records.push_back(record_of(*executor));
  }
  return records;
}

Result<Executors::Added> Executors::add(const ExecutorRecord& record, bool exclusive) {
  const MutexLock changing(journal_mu_);
  TRY_ASSIGN(Executor executor, check(record));
  MutexLock lock(mu_);
  if (exclusive) TRY(check_exclusive(executor));
  if (count_ >= kMostExecutors && find_locked(record.app, record.id) == nullptr) {
    return make_error(Code::kRefused,
                      fmt::format("cannot register executor '{}' of {}: {} are registered; set "
                                  "--app-ttl so that those of ended applications are forgotten",
                                  record.id, record.app, count_));
  }
  Added added;
  added.replaced = find_locked(record.app, record.id);
  added.executor = std::make_shared<const Executor>(std::move(executor));
  put(added.executor);
  lock.unlock();
  write(*added.executor);
  return added;
}

void Executors::write(const Executor& executor) {
  const Status written = journal_.add(record_of(executor), [this] { return records(); });
  if (!written)
    log_error("executors.not_written", {{"app", executor.app.str()},
                                        {"executor", executor.id},
                                        {"reason", written.error().message},
                                        {"consequence", "unknown after a restart"}});
}

void Executors::set_process(const Executor& executor, const ProcessMark& process) {
  const MutexLock changing(journal_mu_);
  MutexLock lock(mu_);
  if (find_locked(executor.app.str(), executor.id).get() != &executor) return;
  auto seen = std::make_shared<Executor>(executor);
  seen->process = process;
  put(seen);
  lock.unlock();
  write(*seen);
}

void Executors::forget(const Executor& executor) {
  const MutexLock changing(journal_mu_);
  MutexLock lock(mu_);
  // Not what has been registered anew meanwhile.
  const ExecutorRef now = find_locked(executor.app.str(), executor.id);
  if (now.get() != &executor) return;
  take_out(*now);
  lock.unlock();
  const Status written = journal_.forget(now->app.str(), now->id, [this] { return records(); });
  if (!written) log_warning("executors.not_written", {{"reason", written.error().message}});
}

ExecutorRef Executors::find_locked(std::string_view app, std::string_view id) const {
  const auto of_app = applications_.find(app);
  if (of_app == applications_.end()) return nullptr;
  const auto& executors = of_app->second.executors;
  const auto it = executors.find(id);
  return it == executors.end() ? nullptr : it->second;
}

uint64_t Executors::last_sign(const AppId& app) const {
  const MutexLock lock(mu_);
  const auto it = applications_.find(app.str());
  return it == applications_.end() ? 0 : it->second.last_sign;
}

ExecutorRef Executors::find(std::string_view app, std::string_view id) const {
  const MutexLock lock(mu_);
  if (const auto it = applications_.find(app); it != applications_.end())
    it->second.last_sign = ++signs_;
  return find_locked(app, id);
}

std::optional<AppId> Executors::application_of(const std::string& backing_directory) const {
  const MutexLock lock(mu_);
  const auto it = by_directory_.find(backing_directory);
  if (it == by_directory_.end()) return std::nullopt;
  return it->second->app;
}

std::vector<ExecutorRef> Executors::all() const {
  const MutexLock lock(mu_);
  std::vector<ExecutorRef> all;
  all.reserve(count_);
  for (const auto& [app, application] : applications_) {
    for (const auto& [id, executor] : application.executors) all.push_back(executor);
  }
  return all;
}

std::size_t Executors::size() const {
  const MutexLock lock(mu_);
  return count_;
}

std::size_t Executors::applications() const {
  const MutexLock lock(mu_);
  return applications_.size();
}

}  // namespace shufflefs::merge
