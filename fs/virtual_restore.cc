// VirtualTree after a worker's death: what it had shown, and what is open still.
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "base/log.h"
#include "fs/virtual_tree.h"
#include "merge/plan_codec.h"

namespace shufflefs::fs {
namespace {

std::optional<std::string> content_of(const Fd& memory) {
  struct stat attr{};
  if (!memory || ::fstat(memory.get(), &attr) != 0) return std::nullopt;
  std::string bytes(static_cast<std::size_t>(attr.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(memory.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got <= 0) return std::nullopt;
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

Status VirtualTree::prepare() {
  TRY(trees_.add_disks());
  trees_.restore();
  return ok();
}

void VirtualTree::restore_open_files(SavedState& state) {
  const std::size_t lost = native_.restore_open_files(passthrough_);
  std::map<uint64_t, Fd> snapshots;
  for (KeptFile& file : state.kept) {
    if (file.kind == KeptKind::kVirtualOpen) snapshots.emplace(file.id, std::move(file.fd));
  }
  const std::vector<VirtualOpenRecord> opens = handles_.saved();
  for (const VirtualOpenRecord& record : opens)
    restore_open(record, std::move(snapshots[record.key]));
  if (state.generation > 0) {
    log_info("mount.taken_over", {{"generation", state.generation},
                                  {"known_files", native_.known_inodes()},
                                  {"known_names", inodes_.size()},
                                  {"open_partitions", opens.size()},
                                  {"open_files_lost", lost}});
  }
}

std::shared_ptr<VirtualFile> VirtualTree::restored_file(const VirtualOpenRecord& record,
                                                        const VirtualNode& node, Fd snapshot) {
  if (record.kind == SnapshotKind::kBacking)
    return snapshot ? make_backing_file(std::move(snapshot), record.bytes) : nullptr;
  auto bytes = content_of(snapshot);
  if (!bytes) return nullptr;
  if (record.kind == SnapshotKind::kText) return make_text_file(std::move(*bytes));
  auto plan = merge::decode_plan(*bytes);
  if (!plan) return nullptr;
  return make_stream_file(
      runtime_, engine_.open_stream(std::move(*plan)),
      node.kind == NodeKind::kPartition ? LargeBlocks::kReadTwice : LargeBlocks::kAsTheyCome);
}

void VirtualTree::restore_open(const VirtualOpenRecord& record, Fd snapshot) {
  VirtualOpen open{
      .nodeid = record.nodeid, .has_mode = record.has_mode != 0, .backing_id = record.backing_id};
  const auto node = inodes_.find(record.nodeid);
  if (node && record.kind == SnapshotKind::kListing) {
    if (const auto bytes = content_of(snapshot))
      open.listing = std::make_shared<const Listing>(*node, lines_of(*bytes), record.partitions);
  } else if (node) {
    open.file = restored_file(record, *node, std::move(snapshot));
  }
  if (!open.file && !open.listing) {
    log_error("mount.open_partition_lost",
              {{"path", node ? path_of(*node) : "?"}, {"consequence", "its reads fail with EIO"}});
  }
  if (record.backing_id != 0) passthrough_.restore(record.nodeid, record.backing_id);
  if (record.has_mode != 0 && record.backing_id != 0)
    modes_.opened(record.nodeid, record.bytes);
  else if (record.has_mode != 0)
    static_cast<void>(modes_.begin(record.nodeid, record.bytes, false));
  handles_.restore(record, std::move(open));
}

}  // namespace shufflefs::fs
