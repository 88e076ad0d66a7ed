#include "fs/virtual_opens.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "fs/checked_reads.h"
#include "merge/plan_codec.h"

namespace shufflefs::fs {
namespace {

void log_failure(const merge::PartitionPlan& plan, uint64_t offset, const Error& error) {
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

}  // namespace

VirtualFile::VirtualFile(std::string text) : text_(std::move(text)), size_(text_.size()) {}

VirtualFile::VirtualFile(Fd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}

VirtualFile::VirtualFile(std::shared_ptr<CheckedStream> stream)
    : stream_(std::move(stream)), size_(stream_->plan().bytes) {}

Snapshot VirtualFile::snapshot() const {
  if (stream_) return {SnapshotKind::kStream, merge::encode_plan(stream_->plan())};
  if (fd_) return {SnapshotKind::kBacking, {}, fd_.get()};
  return {SnapshotKind::kText, text_};
}

Task<Result<Buffer>> VirtualFile::read(uint64_t offset, uint32_t size) const {
  // The local reference keeps the stream while the read is under way.
  const std::shared_ptr<CheckedStream> stream = stream_;
  auto result = co_await stream->read(offset, size);
  if (!result) log_failure(stream->plan(), offset, result.error());
  co_return result;
}

Task<void> VirtualFile::close() const {
  if (const std::shared_ptr<CheckedStream> stream = stream_) co_await stream->close();
}

Listing::Listing(VirtualPath directory, std::vector<std::string> names, uint32_t partitions)
    : directory_(std::move(directory)), names_(std::move(names)), partitions_(partitions) {}

std::string Listing::name_at(uint64_t position) const {
  if (position < names_.size()) return names_[position];
  constexpr std::string_view kSuffixes[] = {"", ".merged", ".index"};
  const uint64_t computed = position - names_.size();
  return std::to_string(computed / 3).append(kSuffixes[computed % 3]);
}

Listing::Entry Listing::entry(uint64_t position) const {
  Entry entry;
  if (position < 2) {
    entry.name = position == 0 ? "." : "..";
    entry.attr.st_ino = stable_inode_number(directory_);
    entry.attr.st_mode = S_IFDIR;
    return entry;
  }
  entry.name = name_at(position - 2);
  if (const auto node = child(directory_, entry.name)) {
    entry.attr.st_ino = stable_inode_number(*node);
    entry.attr.st_mode = row_of(node->kind).mode;
  }
  return entry;
}

Snapshot Listing::snapshot() const {
  Snapshot snapshot{SnapshotKind::kListing, {}};
  for (const std::string& name : names_) snapshot.bytes.append(name).push_back('\n');
  return snapshot;
}

VirtualHandles::VirtualHandles(Fd saved, KeptFiles* kept)
    : kept_(kept), opens_(std::move(saved), "virtual-opens") {}

uint64_t VirtualHandles::add(VirtualOpen open, uint64_t request) {
  VirtualOpenRecord record{.nodeid = open.nodeid, .request = request};
  {
    const MutexLock lock(mu_);
    record.key = opens_.next_key();
  }
  record.backing_id = open.backing_id;
  record.has_mode = open.has_mode ? 1 : 0;
  if (kept_ != nullptr) {
    const Snapshot snapshot = open.file ? open.file->snapshot() : open.listing->snapshot();
    record.kind = snapshot.kind;
    record.bytes = open.file ? open.file->size() : 0;
    record.partitions = open.listing ? open.listing->partitions() : 0;
    keep_snapshot(snapshot, record.key);
  }
  const MutexLock lock(mu_);
  opens_.add(record, std::move(open));
  return record.key;
}

void VirtualHandles::keep_snapshot(const Snapshot& snapshot, uint64_t key) const {
  if (snapshot.fd >= 0) return kept_->keep(KeptKind::kVirtualOpen, key, snapshot.fd);
  const Fd memory(::memfd_create("snapshot", MFD_CLOEXEC));
  std::string_view left = snapshot.bytes;
  while (memory && !left.empty()) {
    const ssize_t written = ::write(memory.get(), left.data(), left.size());
    if (written <= 0) break;
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  if (!memory || !left.empty()) {
    log_limited(LogLevel::kWarning, "mount.snapshot_not_kept",
                {{"bytes", snapshot.bytes.size()},
                 {"errno", errno},
                 {"consequence", "this open file ends should the worker be killed"}});
    return;
  }
  kept_->keep(KeptKind::kVirtualOpen, key, memory.get());
}

std::vector<VirtualOpenRecord> VirtualHandles::saved() const {
  const MutexLock lock(mu_);
  return opens_.saved();
}

void VirtualHandles::restore(const VirtualOpenRecord& record, VirtualOpen open) {
  const MutexLock lock(mu_);
  opens_.restore(record, std::move(open));
}

uint64_t VirtualHandles::key_of_request(uint64_t request) const {
  const MutexLock lock(mu_);
  return opens_.key_of_request(request);
}

VirtualOpen VirtualHandles::find(uint64_t key) const {
  const MutexLock lock(mu_);
  const VirtualOpen* const open = opens_.find(key);
  return open == nullptr ? VirtualOpen{} : *open;
}

VirtualOpen VirtualHandles::remove(uint64_t key) {
  const MutexLock lock(mu_);
  auto open = opens_.remove(key);
  if (!open) return VirtualOpen{};
  if (kept_ != nullptr) kept_->drop(KeptKind::kVirtualOpen, key);
  return *std::move(open);
}

std::vector<VirtualOpen> VirtualHandles::remove_all() {
  const MutexLock lock(mu_);
  return opens_.remove_all();
}

}  // namespace shufflefs::fs
