// NativeFs after a worker's death: trees, and files that are open still.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "fs/directory_cursor.h"
#include "fs/native_trees.h"
#include "fs/os_handles.h"
#include "fs/proc_path.h"

namespace shufflefs::fs {
namespace {

// As ops_open.cc opens them, without what happens only once.
constexpr int kAgain = O_ACCMODE | O_SYNC | O_DSYNC;

}  // namespace

uint32_t NativeFs::save(Tree& added) {
  TreeRecord record;
  uint64_t& next = saved_trees_.counter(kNextLabelled);
  next = std::max<uint64_t>(next, kFirstLabelled);
  added.id = TreeId{static_cast<uint32_t>(next++)};
  record.id = added.id;
  record.device = added.device;
  record.root_inode = added.root_inode;
  if (added.has_handles) record.root = handle_of(added.mount_fd.get());
  const std::size_t length = std::min(added.options.label.size(), TreeRecord::kLabelBytes - 1);
  std::copy_n(added.options.label.begin(), length, record.label.begin());
  return saved_trees_.add(record);
}

std::vector<TreeRecord> NativeFs::saved_trees() const {
  const MutexLock lock(mu_);
  std::vector<TreeRecord> records;
  for (const uint32_t at : saved_trees_.all()) records.push_back(saved_trees_[at]);
  return records;
}

bool NativeFs::restore_tree(const TreeRecord& record, const std::string& path, TreeHooks& hooks) {
  Fd root;
  for (const std::shared_ptr<const Tree>& other : trees_by_device()) {
    if (other->device != record.device || record.root.length == 0) continue;
    root = open_handle(other->mount_fd.get(), record.root, O_RDONLY | O_DIRECTORY);
  }
  if (!root) root = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat attr{};
  bool same = root && ::fstat(root.get(), &attr) == 0 && attr.st_dev == record.device &&
              attr.st_ino == record.root_inode;
  Result<std::shared_ptr<Tree>> made = make_error(Code::kNotFound, "gone");
  if (same) {
    const std::string now_at = path_of_descriptor(root.get());
    made = make_tree(now_at, std::move(root), hooks, {.label = record.label.data()});
    same = static_cast<bool>(made);
  }
  const MutexLock lock(mu_);
  for (const uint32_t at : saved_trees_.all()) {
    if (saved_trees_[at].id != record.id) continue;
    if (!same) {
      saved_trees_.remove(at);
      return false;
    }
    (*made)->id = record.id;
    publish(*made, at, record.removed != 0);
  }
  return same;
}

void NativeFs::restore_one(const OpenRecord& record, Passthrough& passthrough, std::size_t& lost) {
  const int flags = record.is_directory != 0 ? O_RDONLY | O_DIRECTORY : (record.flags & kAgain);
  OsResult<Node> node = open(record.nodeid, flags | O_NOATIME);
  if (!node) {
    ++lost;
    log_limited(LogLevel::kError, "mount.open_file_lost",
                {{"nodeid", record.nodeid},
                 {"errno", node.error().value},
                 {"meaning", "reads and writes that are not passed through fail with EBADF"}});
  }
  if (record.is_directory == 0) passthrough.restore(record.nodeid, record.backing_id);
  const std::optional<InodeRecord> inode = inodes_.find(record.nodeid);
  const std::shared_ptr<const Tree> in = inode ? tree(inode->tree) : nullptr;
  if (!in) return;  // the handle stays unknown
  auto file = std::make_shared<OpenFile>(record.nodeid, record.flags, in,
                                         node ? std::move(node->fd) : Fd());
  file->backing_id = record.backing_id;
  if (record.is_directory != 0) file->cursor = std::make_unique<DirectoryCursor>(file->fd.get());
  handles_.restore(record, file);
}

std::size_t NativeFs::restore_open_files(Passthrough& passthrough) {
  std::size_t lost = 0;
  for (const OpenRecord& record : handles_.saved()) restore_one(record, passthrough, lost);
  return lost;
}

void NativeFs::keep_open(const OpenFile& file) {
  struct stat attr{};
  Fd fd(::open(ProcPath(file.fd.get()).get(), O_PATH | O_CLOEXEC));
  if (fd && ::fstat(fd.get(), &attr) == 0) inodes_.pin(attr.st_dev, attr.st_ino, std::move(fd));
}

void NativeFs::keep_if_open(const Node& directory, const char* name) {
  if (!handles_.has_ordinary()) return;
  Fd fd(::openat(directory.fd.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat attr{};
  if (!fd || ::fstat(fd.get(), &attr) != 0 || !S_ISREG(attr.st_mode)) return;
  const uint64_t nodeid = inodes_.nodeid_of(attr.st_dev, attr.st_ino);
  if (nodeid == 0) return;
  const std::shared_ptr<OpenFile> open_file = handles_.any_of(nodeid);
  if (open_file && open_file->backing_id == 0) inodes_.pin(attr.st_dev, attr.st_ino, std::move(fd));
}

}  // namespace shufflefs::fs
