#include "merge/executors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/log.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kMaxIdBytes = 200;  // as the name of a file
constexpr std::size_t kMaxManagerBytes = 4096;

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

// ---- an executor's file: magic, crc32c of the fields, the fields; numbers little-endian ----------

constexpr std::string_view kExecutorMagic = "SFSEXEC2";
constexpr std::size_t kExecutorHeadBytes = 12;
constexpr uint64_t kMaxExecutorFileBytes = 4U << 20U;

// One list of fields for writing and reading.
template <class Archive>
void fields(Archive& archive, ExecutorRecord& record) {
  ProcessMark process = record.process.value_or(ProcessMark{});
  archive.text(record.app);
  archive.text(record.id);
  archive.number(record.sub_directories);
  archive.number(record.registered_ms);
  archive.number(process.pid);
  archive.number(process.start_time);
  archive.text(record.shuffle_manager);
  archive.texts(record.directories);
  if (process.pid > 0) record.process = process;
}

class RecordWriter {
 public:
  template <class T>
  void number(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    store_le(&bytes_[bytes_.size() - sizeof(T)], value);
  }
  void text(const std::string& value) {
    number(static_cast<uint32_t>(value.size()));
    const auto raw = std::as_bytes(std::span(value));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  void texts(const std::vector<std::string>& values) {
    number(static_cast<uint32_t>(values.size()));
    for (const std::string& value : values) text(value);
  }
  // The whole file.
  std::vector<std::byte> take() {
    const auto magic = std::as_bytes(std::span(kExecutorMagic));
    std::vector<std::byte> file(kExecutorHeadBytes);
    std::ranges::copy(magic, file.begin());
    store_le(&file[magic.size()], crc32c(bytes_));
    file.insert(file.end(), bytes_.begin(), bytes_.end());
    return file;
  }

 private:
  std::vector<std::byte> bytes_;
};

// After a mistake everything reads as zero or empty, and is_whole() is false.
class RecordReader {
 public:
  explicit RecordReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <class T>
  void number(T& value) {
    if (rest_.size() < sizeof(T)) failed_ = true;
    value = failed_ ? T{} : load_le<T>(rest_.data());
    if (!failed_) rest_ = rest_.subspan(sizeof(T));
  }
  void text(std::string& value) {
    uint32_t size = 0;
    number(size);
    if (size > rest_.size()) failed_ = true;
    if (failed_) return;
    value.assign(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
  }
  void texts(std::vector<std::string>& values) {
    uint32_t count = 0;
    number(count);
    for (uint32_t i = 0; i < count && !failed_; ++i) text(values.emplace_back());
  }
  [[nodiscard]] bool is_whole() const { return !failed_ && rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  bool failed_ = false;
};

std::optional<ExecutorRecord> parse_file(std::span<const std::byte> file) {
  const auto magic = std::as_bytes(std::span(kExecutorMagic));
  if (file.size() < kExecutorHeadBytes || !std::ranges::equal(magic, file.first(magic.size())))
    return std::nullopt;
  const auto payload = file.subspan(kExecutorHeadBytes);
  if (crc32c(payload) != load_le<uint32_t>(&file[magic.size()])) return std::nullopt;
  ExecutorRecord record;
  RecordReader reader(payload);
  fields(reader, record);
  if (!reader.is_whole()) return std::nullopt;
  return record;
}

// Any id as the name of a file. Without dots, so that it is never a temporary one's.
std::string file_name_of(std::string_view id) {
  std::string name;
  for (const char c : id) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_')
      name += c;
    else
      name += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return name;
}

}  // namespace

Executors::Executors(FileIo& io, std::string root, LocalDirs rules)
    : io_(io), root_(std::move(root)), rules_(std::move(rules)) {}

std::string Executors::path_of(const std::string& app, const std::string& id) const {
  return fmt::format("{}/{}/{}", root_, app, file_name_of(id));
}

Result<std::vector<ExecutorRecord>> Executors::read_files() {
  std::vector<ExecutorRecord> records;
  if (root_.empty()) return records;
  // Earlier versions had one file for all, under this name.
  if (const auto info = io_.stat(root_); info && info->is_regular) TRY(io_.remove_file(root_));
  TRY(io_.make_directories(root_));
  TRY_ASSIGN(const std::vector<DirectoryEntry> apps, io_.list(root_));
  for (const DirectoryEntry& app : apps) {
    if (!app.is_directory) continue;
    TRY_ASSIGN(const std::vector<DirectoryEntry> files, io_.list(root_ + "/" + app.name));
    for (const DirectoryEntry& file : files) {
      const std::string path = fmt::format("{}/{}/{}", root_, app.name, file.name);
      if (file.is_directory || file.name.ends_with(".new")) continue;
      const auto bytes = read_file(io_, path, kMaxExecutorFileBytes);
      if (!bytes && bytes.error().code != Code::kTooLarge) return bytes.error();
      auto record = bytes ? parse_file(*bytes) : std::nullopt;
      if (record && path_of(record->app, record->id) == path) {
        records.push_back(std::move(*record));
        continue;
      }
      log_error("executors.unreadable", {{"file", path}});
      (void)io_.remove_file(path);
    }
  }
  // Of two that registered the same directory, the later one has it.
  std::ranges::sort(records, {}, &ExecutorRecord::registered_ms);
  return records;
}

Status Executors::load() {
  const MutexLock changing(files_mu_);
  TRY_ASSIGN(const std::vector<ExecutorRecord> records, read_files());
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

void Executors::write_file(const Executor& executor) {
  if (root_.empty()) return;
  ExecutorRecord record = record_of(executor);
  RecordWriter writer;
  fields(writer, record);
  const std::string path = path_of(record.app, record.id);
  Status written = io_.make_directories(path.substr(0, path.rfind('/')));
  if (written) written = replace_file(io_, path, writer.take());
  if (!written)
    log_error("executors.not_written", {{"app", record.app},
                                        {"executor", record.id},
                                        {"reason", written.error().message},
                                        {"consequence", "unknown after a restart"}});
}

void Executors::remove_file(const Executor& executor) {
  if (root_.empty()) return;
  const std::string path = path_of(executor.app.str(), executor.id);
  const Status removed = io_.remove_file(path);
  // One that could not be written is not there.
  if (!removed && removed.error().code != Code::kNotFound)
    log_warning("executors.not_written", {{"reason", removed.error().message}});
  // Fails as long as the application has others.
  (void)io_.remove_empty_directory(path.substr(0, path.rfind('/')));
}

Result<Executor> Executors::check(const ExecutorRecord& record) const {
  Executor executor;
  TRY_ASSIGN(executor.app, AppId::parse(record.app));
  auto bad = [&](std::string_view what) {
    return make_error(Code::kInvalidArgument,
                      fmt::format("cannot register executor '{}' of {}: {}",
                                  record.id.substr(0, 80), record.app, what));
  };
  if (record.id.empty() || file_name_of(record.id).size() > kMaxIdBytes || !is_printable(record.id))
    return bad(fmt::format("its id is not 1 to {} printable characters", kMaxIdBytes));
  if (record.directories.empty() || record.directories.size() > kMaxLocalDirs)
    return bad(fmt::format("it names {} local directories, 1 to {} are allowed",
                           record.directories.size(), kMaxLocalDirs));
  if (record.sub_directories == 0 || record.sub_directories > kMaxSubDirectories)
    return bad(fmt::format("{} sub-directories per local directory, 1 to {} are allowed",
                           record.sub_directories, kMaxSubDirectories));
  if (record.shuffle_manager.size() > kMaxManagerBytes)
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

Result<Executors::Added> Executors::add(const ExecutorRecord& record, bool exclusive) {
  const MutexLock changing(files_mu_);
  TRY_ASSIGN(Executor executor, check(record));
  MutexLock lock(mu_);
  if (exclusive) TRY(check_exclusive(executor));
  if (count_ >= kMaxExecutors && find_locked(record.app, record.id) == nullptr) {
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
  write_file(*added.executor);
  return added;
}

void Executors::set_process(const Executor& executor, const ProcessMark& process) {
  const MutexLock changing(files_mu_);
  MutexLock lock(mu_);
  if (find_locked(executor.app.str(), executor.id).get() != &executor) return;
  auto seen = std::make_shared<Executor>(executor);
  seen->process = process;
  put(seen);
  lock.unlock();
  write_file(*seen);
}

void Executors::forget(const Executor& executor) {
  const MutexLock changing(files_mu_);
  MutexLock lock(mu_);
  // Not what has been registered anew meanwhile.
  const ExecutorRef now = find_locked(executor.app.str(), executor.id);
  if (now.get() != &executor) return;
  take_out(*now);
  lock.unlock();
  remove_file(*now);
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

void Executors::give_sign_locked(std::string_view app) const {
  if (const auto it = applications_.find(app); it != applications_.end())
    it->second.last_sign = ++signs_;
}

void Executors::give_sign(const AppId& app) const {
  const MutexLock lock(mu_);
  give_sign_locked(app.str());
}

ExecutorRef Executors::find(std::string_view app, std::string_view id) const {
  const MutexLock lock(mu_);
  give_sign_locked(app);
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
