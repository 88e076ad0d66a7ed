#include "merge/table_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/parse.h"

namespace shufflefs::merge {
namespace {

constexpr std::size_t kHeadBytes = 8;                   // length and crc32c of the record
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 32U;  // of one shuffle
constexpr std::string_view kWholeApp = "all";           // the file of an application
constexpr std::string_view kBegun = "begun";
constexpr std::size_t kMaxRecordBytes = std::size_t{64} << 20U;

void put_framed(TableLog::Bytes& to, std::span<const std::byte> record) {
  std::array<std::byte, kHeadBytes> head{};
  store_le(head.data(), static_cast<uint32_t>(record.size()));
  store_le(head.data() + 4, crc32c(record));
  to.insert(to.end(), head.begin(), head.end());
  to.insert(to.end(), record.begin(), record.end());
}

}  // namespace

std::string TableLog::path_of(const Name& name) const {
  return fmt::format("{}/{}/{}", root_, name.app.str(),
                     name.shuffle ? std::to_string(number(*name.shuffle)) : kWholeApp);
}

Result<std::optional<uint64_t>> TableLog::begun() {
  const std::string path = root_ + "/" + std::string(kBegun);
  const auto bytes = read_file(io_, path, 64);
  if (!bytes && bytes.error().code == Code::kNotFound) return std::optional<uint64_t>{};
  if (!bytes) return bytes.error();
  return parse_decimal({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, UINT64_MAX);
}

Status TableLog::write_begun(uint64_t number) {
  TRY(io_.make_directories(root_));
  TRY(clock_.cover(number));
  const std::string text = std::to_string(number);
  return replace_file(io_, root_ + "/" + std::string(kBegun), std::as_bytes(std::span(text)));
}

Status TableLog::load(const std::function<void(const Name&, std::span<const std::byte>)>& found) {
  const MutexLock lock(writing_);
  TRY(io_.make_directories(root_));
  TRY_ASSIGN(const std::vector<DirectoryEntry> apps, io_.list(root_));
  for (const DirectoryEntry& entry : apps) {
    const auto app = AppId::parse(entry.name);
    if (!app || !entry.is_directory) continue;
    TRY_ASSIGN(const std::vector<DirectoryEntry> files, io_.list(root_ + "/" + entry.name));
    for (const DirectoryEntry& file : files) {
      const auto shuffle = parse_shuffle_id(file.name);
      if (file.is_directory || (!shuffle && file.name != kWholeApp)) continue;
      TRY(load_file({*app, shuffle ? std::optional(*shuffle) : std::nullopt}, found));
    }
  }
  return ok();
}

Status TableLog::load_file(
    const Name& name, const std::function<void(const Name&, std::span<const std::byte>)>& found) {
  TRY_ASSIGN(const Bytes bytes, read_file(io_, path_of(name), kMaxFileBytes));
  std::size_t at = 0;
  while (bytes.size() - at >= kHeadBytes) {
    const auto length = load_le<uint32_t>(bytes.data() + at);
    // No record is empty: zeros are a hole that a loss of power has left.
    if (length == 0 || length > kMaxRecordBytes || length > bytes.size() - at - kHeadBytes) break;
    const auto record = std::span(bytes).subspan(at + kHeadBytes, length);
    if (crc32c(record) != load_le<uint32_t>(bytes.data() + at + 4)) break;
    found(name, record);
    at += kHeadBytes + length;
  }
  if (at < bytes.size()) {
    log_warning("table.cut", {{"file", path_of(name)},
                              {"offset", at},
                              {"bytes", bytes.size() - at},
                              {"reason", "a record is torn"}});
    // Whole records behind it would come back once something is written in its place.
    TRY_ASSIGN(const std::unique_ptr<File> file, io_.open(path_of(name), OpenMode::kWriteCreate));
    TRY(file->truncate(at));
  }
  ends_[name] = at;
  return ok();
}

void TableLog::append(const Name& name, const Bytes& record, uint64_t number) {
  const MutexLock lock(mu_);
  put_framed(unwritten_[name], record);
  number_ = std::max(number_, number);
}

Status TableLog::write(const Name& name, const Bytes& bytes) {
  const std::string path = path_of(name);
  const auto known = ends_.find(name);
  if (known == ends_.end()) TRY(io_.make_directories(path.substr(0, path.rfind('/'))));
  TRY_ASSIGN(const std::unique_ptr<File> file, io_.open(path, OpenMode::kWriteCreate));
  const uint64_t end = known == ends_.end() ? 0 : known->second;
  // What was written in part by an attempt that failed is written over.
  TRY(file->write_at(end, bytes));
  ends_[name] = end + bytes.size();
  return ok();
}

Status TableLog::flush() {
  const MutexLock writing(writing_);
  std::map<Name, Bytes> taken;
  uint64_t number = 0;
  {
    const MutexLock lock(mu_);
    taken = std::exchange(unwritten_, {});
    number = number_;
  }
  Status all = clock_.cover(number);
  while (all && !taken.empty()) {
    all = write(taken.begin()->first, taken.begin()->second);
    if (all) taken.erase(taken.begin());
  }
  if (all) return ok();
  const MutexLock lock(mu_);
  for (auto& [name, bytes] : taken) {
    Bytes& later = unwritten_[name];
    bytes.insert(bytes.end(), later.begin(), later.end());
    later = std::move(bytes);
  }
  log_limited(LogLevel::kError, "table.not_written", {{"reason", all.error().message}});
  return all;
}

Status TableLog::remove(const Name& name) {
  const MutexLock writing(writing_);
  {
    const MutexLock lock(mu_);
    unwritten_.erase(name);
  }
  if (!ends_.contains(name)) return ok();
  const std::string path = path_of(name);
  TRY(io_.remove_file(path));
  ends_.erase(name);
  // Fails as long as the application has others.
  (void)io_.remove_empty_directory(path.substr(0, path.rfind('/')));
  return ok();
}

Status TableLog::rewrite(const Name& name, const std::vector<Bytes>& records) {
  const MutexLock writing(writing_);
  Bytes bytes;
  for (const Bytes& record : records) put_framed(bytes, record);
  TRY(replace_file(io_, path_of(name), bytes));
  ends_[name] = bytes.size();
  return ok();
}

uint64_t TableLog::bytes(const Name& name) const {
  const MutexLock lock(writing_);
  const auto it = ends_.find(name);
  return it != ends_.end() ? it->second : 0;
}

}  // namespace shufflefs::merge
