#include "fs/native_trees.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/log.h"
#include "fs/directory.h"
#include "fs/os_files.h"

namespace shufflefs::fs {
namespace {

constexpr unsigned kInodeTagShift = 48;  // below the bit of virtual inodes, above real numbers

// Without it (an older kernel, seccomp) access times are updated as the disk's own mount says.
void make_quiet_mount(Tree& tree) {
  Fd clone(
      ::open_tree(tree.mount_fd.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  mount_attr attributes{.attr_set = MOUNT_ATTR_NOATIME,
                        .attr_clr = MOUNT_ATTR__ATIME,
                        .propagation = 0,
                        .userns_fd = 0};
  if (!clone ||
      ::mount_setattr(clone.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return;
  tree.quiet_mount_fd = Fd(::openat(clone.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  tree.quiet_clone = std::move(clone);
}

// File systems hand out handles that they do not take back (overlayfs with AT_HANDLE_FID, FUSE),
// hence the trial.
bool handles_work(int mount_fd) {
  const FileHandle handle = handle_of(mount_fd);
  return handle.length != 0 && open_handle(mount_fd, handle, O_PATH);
}

// As ops_files.cc opens them, without what happens only once.
constexpr int kAgain = O_ACCMODE | O_SYNC | O_DSYNC;

}  // namespace

Result<std::shared_ptr<Tree>> make_tree(const std::string& path, Fd root, TreeHooks& hooks,
                                        TreeOptions options) {
  struct stat attr{};
  if (::fstat(root.get(), &attr) != 0) return errno_error("cannot stat " + path);
  auto made = std::make_shared<Tree>();
  made->path = path;
  made->has_handles = handles_work(root.get());
  made->mount_fd = std::move(root);
  make_quiet_mount(*made);
  made->hooks = &hooks;
  made->options = std::move(options);
  made->device = attr.st_dev;
  made->root_inode = attr.st_ino;
  return made;
}

NativeFs::NativeFs(HandleTable& handles, SavedState& state, KeptFiles* kept)
    : handles_(handles),
      inodes_(state.take(SavedPart::kInodes), kept),
      saved_trees_(state.take(SavedPart::kTrees), "trees"),
      known_before_(inodes_.count_by_tree()) {
  uint64_t& next = saved_trees_.counter(kNextLabelled);
  next = std::max<uint64_t>(next, kFirstLabelled);
  for (KeptFile& file : state.kept) {
    if (file.kind == KeptKind::kInode) inodes_.restore_pinned(file.id, std::move(file.fd));
  }
}

NativeFs::NativeFs(HandleTable& handles) : handles_(handles), saved_trees_(Fd(), "trees") {}

Result<TreeId> NativeFs::add_tree(const std::string& path, TreeHooks& hooks, TreeOptions options) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("cannot open the directory " + path);
  TRY_ASSIGN(const std::shared_ptr<Tree> added,
             make_tree(path, std::move(fd), hooks, std::move(options)));
  const MutexLock lock(mu_);
  std::optional<uint32_t> record;
  if (added->options.label.empty())
    added->id = TreeId{next_tree_++};
  else
    record = save(*added);
  publish(added, record, false);
  return added->id;
}

void NativeFs::publish(const std::shared_ptr<Tree>& added, std::optional<uint32_t> record,
                       bool removed) {
  const auto [tag, is_new] =
      tag_by_device_.try_emplace(added->device, tag_by_device_.size() << kInodeTagShift);
  added->inode_tag = tag->second;
  const auto known = known_before_.extract(added->id);
  trees_.emplace(added->id, Shown{added, record, removed, known.empty() ? 0 : known.mapped()});
}

void NativeFs::remove_tree(TreeId id) {
  const MutexLock lock(mu_);
  const auto it = trees_.find(id);
  if (it == trees_.end()) return;
  Shown& shown = it->second;
  shown.removed = true;
  if (shown.record) saved_trees_[*shown.record].removed = 1;
  if (shown.known_nodes == 0) erase(it);
}

void NativeFs::erase(Trees::iterator it) {
  if (it->second.record) saved_trees_.remove(*it->second.record);
  trees_.erase(it);
}

std::shared_ptr<const Tree> NativeFs::tree(TreeId id) const {
  const MutexLock lock(mu_);
  const auto it = trees_.find(id);
  return it == trees_.end() ? nullptr : it->second.tree;
}

Result<fuse_entry_param> NativeFs::lookup_root(TreeId id) {
  std::shared_ptr<const Tree> found;
  {
    const MutexLock lock(mu_);
    const auto it = trees_.find(id);
    if (it != trees_.end() && !it->second.removed) found = it->second.tree;
  }
  if (!found) return make_error(Code::kNotFound, "this native tree has been removed");
  Fd fd(::openat(found->mount_fd.get(), ".", O_PATH | O_CLOEXEC));
  if (!fd) return errno_error("cannot open " + found->path);
  OsResult<fuse_entry_param> entry = enter(found, fd);
  if (!entry) return errno_error("cannot look up " + found->path, entry.error().value);
  return *entry;
}

OsResult<Node> NativeFs::open_record(const InodeRecord& record, int flags) {
  Node node{.tree = tree(record.tree), .fd = Fd(), .nodeid = record.nodeid, .type = record.type};
  if (!node.tree) return Errno{ESTALE};
  node.is_root = record.device == node.tree->device && record.inode == node.tree->root_inode;
  if (record.handle.length != 0) {
    node.fd = open_handle(node.tree->mount_fd.get(), record.handle, flags);
    if (node.fd) return node;
    if (errno != ESTALE) return last_errno();
  }
  Fd held = inodes_.duplicate_pinned(record.nodeid);
  // Removed, but perhaps still open here.
  const std::shared_ptr<OpenFile> open_file = held ? nullptr : handles_.any_of(record.nodeid);
  if (!held && !open_file) return Errno{ESTALE};
  if (held && (flags & O_PATH) != 0) {
    node.fd = std::move(held);
    return node;
  }
  const ProcPath path(held ? held.get() : open_file->fd.get());
  node.fd = Fd(::open(path.get(), (flags & ~O_NOFOLLOW) | O_CLOEXEC));
  if (!node.fd) return last_errno();
  return node;
}

NativeFs::Removal::Removal(NativeFs& native, const Node& directory, const char* name, Kind kind)
    : inodes_(native.inodes_) {
  if (!directory.tree->has_handles) return;  // pinned anyway
  Fd fd(::openat(directory.fd.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat attr{};
  if (!fd || ::fstat(fd.get(), &attr) != 0) return;
  // Of regular files we know who has them open: see keep_if_open().
  using How = InodeTable::Removal;
  const How regular = kind == Kind::kUnlinked ? How::kIfFoundAgain : How::kUntilForgotten;
  how_ = S_ISREG(attr.st_mode) ? regular : How::kKept;
  nodeid_ = inodes_.begin_removal(attr.st_dev, attr.st_ino, std::move(fd));
}

NativeFs::Removal::~Removal() {
  if (nodeid_ != 0) inodes_.end_removal(nodeid_, InodeTable::Removal::kFailed);
}

void NativeFs::Removal::done() {
  if (nodeid_ != 0) inodes_.end_removal(nodeid_, how_);
  nodeid_ = 0;
}

OsResult<Node> NativeFs::node(fuse_ino_t ino) {
  const std::optional<InodeRecord> record = inodes_.find(ino);
  if (!record) return Errno{ESTALE};
  return open_record(*record, O_PATH | O_NOFOLLOW);
}

OsResult<Node> NativeFs::open(fuse_ino_t ino, int flags) {
  const std::optional<InodeRecord> record = inodes_.find(ino);
  if (!record) return Errno{ESTALE};
  // The kernel opens fifos and devices itself; here an open could block or have effects on a
  // device.
  if (!S_ISREG(record->type) && !S_ISDIR(record->type)) return Errno{ENXIO};
  return open_record(*record, flags);
}

Fd NativeFs::open_for_passthrough(fuse_ino_t ino) {
  const std::optional<InodeRecord> record = inodes_.find(ino);
  if (!record || record->handle.length == 0 || !S_ISREG(record->type)) return Fd();
  const std::shared_ptr<const Tree> in = tree(record->tree);
  if (!in || !in->quiet_mount_fd) return Fd();
  return open_handle(in->quiet_mount_fd.get(), record->handle, O_RDONLY);
}

OsResult<fuse_entry_param> NativeFs::lookup(const Node& directory, const char* name) {
  Fd fd(::openat(directory.fd.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return last_errno();
  OsResult<fuse_entry_param> entry = enter(directory.tree, fd);
  // A name that the kernel checks once more may have lost its file meanwhile, before that removal
  // could see that it was found again.
  struct stat attr{};
  if (entry && fd && ::fstat(fd.get(), &attr) == 0 && attr.st_nlink == 0)
    inodes_.hold_removed(entry->ino, std::move(fd));
  return entry;
}

OsResult<fuse_entry_param> NativeFs::enter(const std::shared_ptr<const Tree>& tree, Fd& fd) {
  fuse_entry_param entry{};
  if (::fstat(fd.get(), &entry.attr) != 0) return last_errno();
  InodeRecord seen;
  seen.device = entry.attr.st_dev;
  seen.inode = entry.attr.st_ino;
  seen.tree = tree->id;
  seen.type = entry.attr.st_mode & S_IFMT;
  // Something else may be mounted inside the tree: its handles cannot be opened by way of the
  // tree's mount.
  if (tree->has_handles && seen.device == tree->device) seen.handle = handle_of(fd.get());
  const InodeTable::Remembered remembered = inodes_.remember_with(seen, fd);
  if (remembered.is_new) {
    const MutexLock lock(mu_);
    if (const auto it = trees_.find(tree->id); it != trees_.end()) ++it->second.known_nodes;
  }
  entry.ino = remembered.nodeid;
  entry.attr.st_ino = shown_inode(*tree, entry.attr.st_ino);
  entry.attr_timeout = attribute_seconds(*tree, entry.ino);
  entry.entry_timeout = tree->options.cache_seconds;
  return entry;
}

void NativeFs::forget(fuse_ino_t ino, uint64_t count) {
  const std::optional<InodeRecord> gone = inodes_.forget(ino, count);
  if (!gone) return;
  const MutexLock lock(mu_);
  const auto it = trees_.find(gone->tree);
  if (it == trees_.end()) return;
  if (--it->second.known_nodes == 0 && it->second.removed) erase(it);
}

std::vector<std::shared_ptr<const Tree>> NativeFs::trees_by_device() const {
  const MutexLock lock(mu_);
  std::vector<std::shared_ptr<const Tree>> trees;
  for (const auto& [id, shown] : trees_) {
    const std::shared_ptr<const Tree>& candidate = shown.tree;
    const bool known = std::ranges::any_of(
        trees, [&](const auto& other) { return other->device == candidate->device; });
    if (!known) trees.push_back(candidate);
  }
  return trees;
}

// ---- after a worker's death: trees, and files that are open still

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
