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
  std::string_view name;  // the metric's label
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

Passthrough::Passthrough(Metrics& metrics, bool wanted, Fd saved)
    : wanted_(wanted),
      on_(metrics.counter("shufflefs_passthrough_opens_total", "Opens in passthrough.")),
      off_(metrics.counter("shufflefs_ordinary_opens_total", "Opens without passthrough.")),
      refused_(metrics.counters("shufflefs_passthrough_refused_total",
                                "First opens refused passthrough. stacked: data on overlayfs or "
                                "FUSE; privilege: no CAP_SYS_ADMIN.",
                                "reason")),
      saved_(std::move(saved), "backing-ids") {
  for (const char* const reason : {"stacked", "privilege", "unsupported", "other"})
    refused_.with(reason);
  for (const uint32_t at : saved_.all()) {
    inodes_[saved_[at].nodeid] = {.opens = 0, .backing_id = saved_[at].backing_id, .record = at};
  }
}

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
  const MutexLock lock(mu_);
  Inode& inode = inodes_[nodeid];
  if (inode.opens++ == 0) register_backing(nodeid, inode, fd);
  info.backing_id = inode.backing_id;
  (inode.backing_id != 0 ? on_ : off_).add();
  return inode.backing_id != 0;
}

void Passthrough::close(uint64_t nodeid) {
  const MutexLock lock(mu_);
  const auto it = inodes_.find(nodeid);
  if (it == inodes_.end() || --it->second.opens != 0) return;
  close_backing(it->second);
  inodes_.erase(it);
}

void Passthrough::close_backing(const Inode& inode) {
  if (inode.backing_id == 0) return;
  const auto id = static_cast<uint32_t>(inode.backing_id);
  ::ioctl(session_fd_, kBackingClose, &id);
  saved_.remove(inode.record);
}

void Passthrough::restore(uint64_t nodeid, int32_t backing_id) {
  const MutexLock lock(mu_);
  Inode& inode = inodes_[nodeid];
  if (inode.opens++ == 0 && inode.backing_id != backing_id) {
    log_error("passthrough.state_disagrees",
              {{"nodeid", nodeid}, {"open", backing_id}, {"saved", inode.backing_id}});
  }
}

void Passthrough::close_unused() {
  const MutexLock lock(mu_);
  for (auto it = inodes_.begin(); it != inodes_.end();) {
    const auto entry = it++;
    if (entry->second.opens != 0) continue;
    close_backing(entry->second);
    inodes_.erase(entry);
  }
  // Registered by a worker that died before it could save the number: ids go up by one.
  const auto next = static_cast<uint32_t>(saved_.counter(kHighest) + 1);
  ::ioctl(session_fd_, kBackingClose, &next);
}

void Passthrough::register_backing(uint64_t nodeid, Inode& inode, int fd) {
  if (!wanted_ || !negotiated_) return;
  BackingMap map{fd, 0, 0};
  const int id = ::ioctl(session_fd_, kBackingOpen, &map);
  if (id <= 0) return count_refusal(errno);
  saved_.counter(kHighest) = static_cast<uint64_t>(id);
  inode.backing_id = id;
  inode.record = saved_.add({nodeid, id});
}

void Passthrough::count_refusal(int error) {
  const Reason reason = reason_of(error);
  refused_.with(std::string(reason.name)).add();
  if (!reported_.insert(error).second) return;
  log_warning(
      "passthrough.refused",
      {{"reason", reason.text}, {"errno", error}, {"consequence", "ordinary I/O for such files"}});
}

std::size_t Passthrough::open_inodes() const {
  const MutexLock lock(mu_);
  return inodes_.size();
}

OpenModes::Verdict OpenModes::begin(uint64_t nodeid, uint64_t bytes, bool whole) {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  const bool open = it != by_nodeid_.end();
  if (open && it->second.passthrough) {
    return whole && it->second.bytes == bytes ? Verdict::kPassthrough : Verdict::kStale;
  }
  if (!open && whole) return Verdict::kPassthrough;
  Opens& opens = by_nodeid_[nodeid];
  ++opens.users;
  opens.bytes = bytes;
  return Verdict::kOrdinary;
}

void OpenModes::opened(uint64_t nodeid, uint64_t bytes) {
  const MutexLock lock(mu_);
  Opens& opens = by_nodeid_[nodeid];
  ++opens.users;
  opens.bytes = bytes;
  opens.passthrough = true;
}

void OpenModes::released(uint64_t nodeid) {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  if (it != by_nodeid_.end() && --it->second.users == 0) by_nodeid_.erase(it);
}

std::optional<uint64_t> OpenModes::bytes(uint64_t nodeid) const {
  const MutexLock lock(mu_);
  const auto it = by_nodeid_.find(nodeid);
  if (it == by_nodeid_.end()) return std::nullopt;
  return it->second.bytes;
}

}  // namespace shufflefs::fs
