#include "fs/caller.h"

#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace shufflefs::fs {
namespace {

// Sets or clears one capability in the effective set of this thread; true if that changed it.
bool set_effective(unsigned capability, bool on) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  uint32_t& effective = sets.at(capability / 32).effective;
  const uint32_t bit = uint32_t{1} << (capability % 32);
  const uint32_t wanted = on ? (effective | bit) : (effective & ~bit);
  if (wanted == effective) return false;
  effective = wanted;
  return ::syscall(SYS_capset, &header, sets.data()) == 0;
}

// The umask belongs to the process; a FUSE thread gets its own the first time it creates something.
void own_umask() {
  thread_local const bool done = ::unshare(CLONE_FS) == 0;
  static_cast<void>(done);
}

}  // namespace

void prepare_fuse_thread() {
  ::prctl(PR_SET_SECUREBITS, ::prctl(PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP);
  set_effective(CAP_SYS_RESOURCE, false);
}

CallerScope::CallerScope(const fuse_ctx& caller) : changed_(caller.uid != 0 || caller.gid != 0) {
  if (!changed_) return;
  ::setfsgid(caller.gid);
  ::setfsuid(caller.uid);
}

CallerScope::~CallerScope() {
  if (!changed_) return;
  const int saved_errno = errno;
  ::setfsuid(0);
  ::setfsgid(0);
  errno = saved_errno;
}

CreatorScope::CreatorScope(const fuse_ctx& caller) : scope_(caller) {
  own_umask();
  ::umask(caller.umask);
}

WithoutFsetid::WithoutFsetid(bool wanted) : changed_(wanted && set_effective(CAP_FSETID, false)) {}

WithoutFsetid::~WithoutFsetid() {
  if (!changed_) return;
  const int saved_errno = errno;
  set_effective(CAP_FSETID, true);
  errno = saved_errno;
}

}  // namespace shufflefs::fs
