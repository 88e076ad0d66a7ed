#include "fs/operations.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "fs/os_files.h"

namespace shufflefs::fs {
namespace {

constexpr unsigned long kBlockBytes = 4096;

void add(struct statvfs& sum, const struct statvfs& disk) {
  const auto in_blocks = [&](uint64_t count) { return count * disk.f_frsize / kBlockBytes; };
  sum.f_blocks += in_blocks(disk.f_blocks);
  sum.f_bfree += in_blocks(disk.f_bfree);
  sum.f_bavail += in_blocks(disk.f_bavail);
  sum.f_files += disk.f_files;
  sum.f_ffree += disk.f_ffree;
  sum.f_favail += disk.f_favail;
  sum.f_namemax = std::min(sum.f_namemax, disk.f_namemax);
}

}  // namespace

SpaceCache::SpaceCache(const NativeFs& native) : native_(native) {
  refresh();
  thread_ = std::thread([this] {
    MutexLock lock(mu_);
    while (true) {
      const auto next = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      while (!stopping_ && wake_.wait_until(lock, next)) {
      }
      if (stopping_) return;
      lock.unlock();
      refresh();
      lock.lock();
    }
  });
}

SpaceCache::~SpaceCache() {
  {
    const MutexLock lock(mu_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void SpaceCache::refresh() {
  struct statvfs sum{};
  sum.f_bsize = sum.f_frsize = kBlockBytes;
  sum.f_namemax = 255;
  for (const auto& tree : native_.trees_by_device()) {
    struct statvfs disk{};
    if (::fstatvfs(tree->mount_fd.get(), &disk) == 0) add(sum, disk);
  }
  const MutexLock lock(mu_);
  numbers_ = sum;
}

struct statvfs SpaceCache::snapshot() const {
  const MutexLock lock(mu_);
  return numbers_;
}

Operations::Operations(NativeFs& native_fs, HandleTable& handle_table, Passthrough& pass,
                       SpaceCache& space_cache, VirtualOps& virtual_operations, Metrics& metrics)
    : native(native_fs),
      handles(handle_table),
      passthrough(pass),
      space(space_cache),
      virtual_ops(virtual_operations),
      times(metrics),
      ordinary_reads(
          metrics.counter("shufflefs_ordinary_reads_total", "Reads that went through the daemon.")),
      ordinary_writes(metrics.counter("shufflefs_ordinary_writes_total",
                                      "Writes that went through the daemon.")) {
  metrics.gauge("shufflefs_known_inodes", "Inodes that the kernel remembers.",
                [&native_fs] { return static_cast<double>(native_fs.known_inodes()); });
  metrics.gauge("shufflefs_open_files", "Open files and directories below local/ and maps/.",
                [&handle_table] { return static_cast<double>(handle_table.size()); });
}

void reply_entry(fuse_req_t req, NativeFs& native, const fuse_entry_param& entry) {
  if (fuse_reply_entry(req, &entry) == -ENOENT && entry.ino != 0) native.forget(entry.ino, 1);
}

int before_change(const Node& directory, const char* name) {
  const Status allowed = directory.tree->hooks->before_change(name_in(directory, name));
  return allowed ? 0 : allowed.error().fuse_errno();
}

namespace {

// Calls `check` with the name that `fd` has; 0 or the errno to answer.
template <class Check>
int check_by_name(const Tree& tree, int fd, Check check) {
  if (!tree.hooks->guards_writes()) return 0;
  const std::string path = path_of_descriptor(fd);
  if (path.empty()) return 0;  // it has no name that could be guarded
  const std::size_t slash = path.rfind('/');
  const Fd directory(::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat attr{};
  if (!directory || ::fstat(directory.get(), &attr) != 0) return errno;
  const NameInTree target{
      .directory_fd = directory.get(),
      .in_tree_root = attr.st_dev == tree.device && attr.st_ino == tree.root_inode,
      .name = std::string_view(path).substr(slash + 1)};
  const Status allowed = check(*tree.hooks, target);
  return allowed ? 0 : allowed.error().fuse_errno();
}

}  // namespace

int before_write(const Node& file) {
  return check_by_name(*file.tree, file.fd.get(), [](TreeHooks& hooks, const NameInTree& target) {
    return hooks.before_change(target);
  });
}

int before_attributes(const Tree& tree, int fd) {
  return check_by_name(tree, fd, [](TreeHooks& hooks, const NameInTree& target) {
    return hooks.before_attributes(target);
  });
}

}  // namespace shufflefs::fs
