#include "fs/virtual_file.h"

#include "base/log.h"
#include "fs/checked_stream.h"
#include "merge/plan_codec.h"

namespace shufflefs::fs {
namespace {

class TextFile final : public VirtualFile {
 public:
  explicit TextFile(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] uint64_t size() const override { return text_.size(); }
  [[nodiscard]] Snapshot snapshot() const override { return {SnapshotKind::kText, text_}; }
  [[nodiscard]] std::optional<std::string_view> text() const override { return text_; }

 private:
  const std::string text_;
};

class BackingFile final : public VirtualFile {
 public:
  BackingFile(Fd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}
  [[nodiscard]] uint64_t size() const override { return size_; }
  [[nodiscard]] Snapshot snapshot() const override {
    return {fd_ ? SnapshotKind::kBacking : SnapshotKind::kText, {}, fd_.get()};
  }
  [[nodiscard]] std::optional<std::string_view> text() const override {
    if (fd_) return std::nullopt;
    return std::string_view{};  // an empty map output has no data file
  }
  [[nodiscard]] int descriptor() const override { return fd_.get(); }

 private:
  const Fd fd_;
  const uint64_t size_;
};

class StreamFile final : public VirtualFile {
 public:
  StreamFile(Runtime& runtime, std::shared_ptr<merge::PartitionStream> stream, LargeBlocks large)
      : stream_(std::make_shared<CheckedStream>(runtime, std::move(stream),
                                                large == LargeBlocks::kReadTwice)) {}
  [[nodiscard]] uint64_t size() const override { return stream_->plan().bytes; }
  [[nodiscard]] Snapshot snapshot() const override {
    return {SnapshotKind::kStream, merge::encode_plan(stream_->plan())};
  }

  Task<Result<Buffer>> read(uint64_t offset, uint32_t size) override {
    // The local reference keeps the stream while the read is under way.
    const std::shared_ptr<CheckedStream> stream = stream_;
    auto result = co_await stream->read(offset, size);
    if (!result) log_failure(stream->plan(), offset, result.error());
    co_return result;
  }

  Task<void> close() override {
    const std::shared_ptr<CheckedStream> stream = stream_;
    co_await stream->close();
  }

 private:
  static void log_failure(const merge::PartitionPlan& plan, uint64_t offset, const Error& error) {
    if (error.code == Code::kCancelled) return;
    log_limited(LogLevel::kWarning,
                plan.incomplete ? "partition.incomplete" : "partition.read_failed",
                {{"app", plan.shuffle.app.str()},
                 {"shuffle", merge::number(plan.shuffle.shuffle)},
                 {"partition", merge::number(plan.partition)},
                 {"offset", offset},
                 {"code", to_string(error.code)},
                 {"errno", error.sys_errno},
                 {"reason", plan.incomplete ? *plan.incomplete : error.message}});
  }

  const std::shared_ptr<CheckedStream> stream_;
};

}  // namespace

Task<Result<Buffer>> VirtualFile::read(uint64_t /*offset*/, uint32_t /*size*/) {
  co_return make_error(Code::kInternal, "a file without a reader was read");
}

Task<void> VirtualFile::close() { co_return; }

std::shared_ptr<VirtualFile> make_text_file(std::string text) {
  return std::make_shared<TextFile>(std::move(text));
}

std::shared_ptr<VirtualFile> make_backing_file(Fd fd, uint64_t size) {
  return std::make_shared<BackingFile>(std::move(fd), size);
}

std::shared_ptr<VirtualFile> make_stream_file(Runtime& runtime,
                                              std::shared_ptr<merge::PartitionStream> stream,
                                              LargeBlocks large) {
  return std::make_shared<StreamFile>(runtime, std::move(stream), large);
}

}  // namespace shufflefs::fs
