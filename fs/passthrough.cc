#include "fs/passthrough.h"

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/log.h"

namespace shufflefs::fs {
namespace {

// From <linux/fuse.h> of kernel 6.9; Debian 12's headers are older.
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

struct Reason {
  std::string_view name;  // part of the metric's name
  std::string_view text;
};

Reason reason_of(int error) {
  switch (error) {
    case ELOOP:
      return {"stacked",
              "the backing file system is stacked (overlayfs, FUSE): put --data on a plain disk"};
    case EPERM: return {"privilege", "CAP_SYS_ADMIN in the initial user namespace is missing"};
    case EOPNOTSUPP:
      return {"unsupported", "the backing file system cannot be used for passthrough"};
    default: return {"other", std::strerror(error)};
  }
}

}  // namespace

Passthrough::Passthrough(Metrics& metrics, bool wanted)
    : wanted_(wanted),
      metrics_(metrics),
      on_(metrics.counter("shufflefs_passthrough_opens_total",
                          "Opens whose reads and writes the kernel does itself")),
      off_(metrics.counter("shufflefs_ordinary_opens_total",
                           "Opens whose reads and writes go through the daemon")) {}

void Passthrough::attach(int session_fd, bool negotiated) {
  session_fd_ = session_fd;
  negotiated_ = negotiated;
  if (wanted_ && !negotiated) {
    log_warning("passthrough.refused", {{"reason",
                                         "the kernel does not offer it (6.9 or later does, with "
                                         "CONFIG_FUSE_PASSTHROUGH)"}});
  }
}

bool Passthrough::open(uint64_t nodeid, int fd, fuse_file_info& info) {
  info.keep_cache = 0;
  const std::lock_guard lock(mu_);
  Inode& inode = inodes_[nodeid];
  if (inode.opens++ == 0) inode.backing_id = register_backing(fd);
  info.backing_id = inode.backing_id;
  (inode.backing_id != 0 ? on_ : off_).add();
  return inode.backing_id != 0;
}

void Passthrough::close(uint64_t nodeid) {
  const std::lock_guard lock(mu_);
  const auto it = inodes_.find(nodeid);
  if (it == inodes_.end() || --it->second.opens != 0) return;
  if (it->second.backing_id != 0) ::ioctl(session_fd_, kBackingClose, &it->second.backing_id);
  inodes_.erase(it);
}

int32_t Passthrough::register_backing(int fd) {
  if (!wanted_ || !negotiated_) return 0;
  BackingMap map{fd, 0, 0};
  const int id = ::ioctl(session_fd_, kBackingOpen, &map);
  if (id > 0) return id;
  count_refusal(errno);
  return 0;
}

void Passthrough::count_refusal(int error) {
  const Reason reason = reason_of(error);
  metrics_
      .counter("shufflefs_passthrough_refused_" + std::string(reason.name) + "_total",
               "First opens that the kernel refused to pass through: " + std::string(reason.text))
      .add();
  if (!reported_.insert(error).second) return;
  log_warning(
      "passthrough.refused",
      {{"reason", reason.text}, {"errno", error}, {"consequence", "ordinary I/O for such files"}});
}

std::size_t Passthrough::open_inodes() const {
  const std::lock_guard lock(mu_);
  return inodes_.size();
}

}  // namespace shufflefs::fs
