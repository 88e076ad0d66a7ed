#include "merge/executor_journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string_view>

#include "base/crc32c.h"
#include "base/endian.h"
#include "base/log.h"

namespace shufflefs::merge {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::string_view kMagic = "SFSEXEC1";
constexpr std::size_t kFrameBytes = 8;  // length and checksum in front of each record
constexpr uint32_t kMostRecordBytes = 4U << 20U;
constexpr uint64_t kMostFileBytes = 4ULL << 30U;
// A journal is left to grow to this, or to four times of what it held when it was last written
// anew.
constexpr uint64_t kLeastRewriteBytes = 256U << 10U;

enum class Kind : uint8_t { kAdded = 1, kForgotten = 2 };

class Writer {
 public:
  explicit Writer(Kind kind) { bytes_.push_back(static_cast<std::byte>(kind)); }
  template <class T>
  Writer& number(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    store_le(&bytes_[bytes_.size() - sizeof(T)], value);
    return *this;
  }
  Writer& text(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    const auto raw = std::as_bytes(std::span(value));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
    return *this;
  }
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

// After a mistake everything reads as zero or empty, and good() is false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <class T>
  T number() {
    if (rest_.size() < sizeof(T)) good_ = false;
    if (!good_) return 0;
    const T value = load_le<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  std::string text() {
    const auto size = number<uint32_t>();
    if (size > rest_.size()) good_ = false;
    if (!good_) return {};
    std::string value(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
    return value;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return good_ && rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  bool good_ = true;
};

void frame(Bytes& file, const Bytes& payload) {
  const std::size_t at = file.size();
  file.resize(at + kFrameBytes);
  store_le(&file[at], static_cast<uint32_t>(payload.size()));
  store_le(&file[at + 4], crc32c(payload));
  file.insert(file.end(), payload.begin(), payload.end());
}

// The records of a journal in the order in which they were written.
using Live = std::vector<ExecutorRecord>;

class Replay {
 public:
  // False if the payload is not a record.
  bool take(std::span<const std::byte> payload) {
    if (payload.empty()) return false;
    Reader reader(payload.subspan(1));
    switch (static_cast<Kind>(payload[0])) {
      case Kind::kAdded: return added(reader);
      case Kind::kForgotten: {
        const std::string app = reader.text();
        const std::string id = reader.text();
        if (!reader.at_end()) return false;
        live_.erase({app, id});
        return true;
      }
    }
    return false;
  }
  Live result() {
    Live records;
    records.reserve(live_.size());
    std::map<uint64_t, ExecutorRecord> in_order;
    for (auto& [key, entry] : live_) in_order[entry.first] = std::move(entry.second);
    for (auto& [order, record] : in_order) records.push_back(std::move(record));
    return records;
  }

 private:
  bool added(Reader& reader) {
    ExecutorRecord record;
    record.app = reader.text();
    record.id = reader.text();
    record.sub_directories = reader.number<uint32_t>();
    record.registered_ms = reader.number<uint64_t>();
    const ProcessMark process{reader.number<int32_t>(), reader.number<uint64_t>()};
    if (process.pid > 0) record.process = process;
    record.shuffle_manager = reader.text();
    const auto directories = reader.number<uint32_t>();
    for (uint32_t i = 0; i < directories && reader.good(); ++i)
      record.directories.push_back(reader.text());
    if (!reader.at_end()) return false;
    auto& entry = live_[{record.app, record.id}];
    if (entry.first == 0) entry.first = ++next_;
    entry.second = std::move(record);
    return true;
  }

  std::map<std::pair<std::string, std::string>, std::pair<uint64_t, ExecutorRecord>> live_;
  uint64_t next_ = 0;
};

}  // namespace

Bytes ExecutorJournal::encode_added(const ExecutorRecord& record) {
  Writer writer(Kind::kAdded);
  const ProcessMark process = record.process.value_or(ProcessMark{});
  writer.text(record.app)
      .text(record.id)
      .number(record.sub_directories)
      .number(record.registered_ms)
      .number(process.pid)
      .number(process.start_time)
      .text(record.shuffle_manager)
      .number(static_cast<uint32_t>(record.directories.size()));
  for (const std::string& directory : record.directories) writer.text(directory);
  return writer.take();
}

Bytes ExecutorJournal::encode_forgotten(const std::string& app, const std::string& id) {
  return Writer(Kind::kForgotten).text(app).text(id).take();
}

Result<Live> ExecutorJournal::load() {
  file_.reset();
  if (path_.empty()) return Live{};
  auto bytes = read_file(io_, path_, kMostFileBytes);
  if (!bytes && bytes.error().code == Code::kNotFound) return Live{};
  if (!bytes) return bytes.error();
  const auto magic = std::as_bytes(std::span(kMagic));
  if (bytes->size() < magic.size() || !std::equal(magic.begin(), magic.end(), bytes->begin())) {
    // Put aside for a person to look at; a file shorter than its first bytes is a torn one.
    log_error("executors.journal_unreadable",
              {{"file", path_}, {"bytes", bytes->size()}, {"put_aside", path_ + ".bad"}});
    TRY(io_.rename(path_, path_ + ".bad"));
    return Live{};
  }
  Replay replay;
  std::size_t at = magic.size();
  while (bytes->size() - at >= kFrameBytes) {
    const auto size = load_le<uint32_t>(&(*bytes)[at]);
    if (size > kMostRecordBytes || size > bytes->size() - at - kFrameBytes) break;
    const auto payload = std::span(*bytes).subspan(at + kFrameBytes, size);
    if (crc32c(payload) != load_le<uint32_t>(&(*bytes)[at + 4]) || !replay.take(payload)) break;
    at += kFrameBytes + size;
  }
  if (at != bytes->size()) {
    log_warning("executors.journal_torn",
                {{"file", path_}, {"good_bytes", at}, {"cut_bytes", bytes->size() - at}});
  }
  TRY_ASSIGN(file_, io_.open(path_, OpenMode::kWriteCreate));
  TRY(file_->truncate(at));
  end_ = at;
  // Unknown how much of it is past: the next changes find out by growing it.
  compact_bytes_ = std::min<uint64_t>(end_, kLeastRewriteBytes);
  return replay.result();
}

bool ExecutorJournal::must_rewrite() const {
  return !file_ || end_ > std::max(kLeastRewriteBytes, 4 * compact_bytes_);
}

Status ExecutorJournal::append(const Bytes& payload) {
  Bytes framed;
  frame(framed, payload);
  Status written = file_->write_at(end_, framed);
  if (written)
    end_ += framed.size();
  else
    file_.reset();
  return written;
}

Status ExecutorJournal::rewrite(const Live& live) {
  Bytes bytes;
  const auto magic = std::as_bytes(std::span(kMagic));
  bytes.assign(magic.begin(), magic.end());
  for (const ExecutorRecord& record : live) frame(bytes, encode_added(record));
  file_.reset();
  TRY(replace_file(io_, path_, bytes));
  TRY_ASSIGN(file_, io_.open(path_, OpenMode::kWriteCreate));
  end_ = compact_bytes_ = bytes.size();
  return ok();
}

}  // namespace shufflefs::merge
