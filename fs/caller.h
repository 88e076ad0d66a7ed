// Acts as the caller of a request, so that the disk sees whose file it is: ownership, quotas,
// blocks reserved for root, setuid bits that a write clears.
//
// The kernel has already checked the permissions, with supplementary groups that we do not know. So
// FUSE threads keep their capabilities under any user id (SECBIT_NO_SETUID_FIXUP) and only give up
// those that would make the disk treat everybody as root.
//
// Threads: a scope ends on the thread that made it, and leaves errno alone. Failure: a scope that
// cannot switch falls back to root. Cost: four system calls, none for root.
#pragma once

#include <sys/types.h>

#include <cstdint>

struct fuse_ctx;

namespace shufflefs::fs {

// Called once on the thread that starts the FUSE threads, which inherit it: capabilities survive a
// change of user id; CAP_SYS_RESOURCE goes, with which everybody could use root's reserved blocks.
void prepare_fuse_thread();

// User and group id for file system checks and for what is created.
class CallerScope {
 public:
  explicit CallerScope(const fuse_ctx& caller);
  CallerScope(const CallerScope&) = delete;
  CallerScope& operator=(const CallerScope&) = delete;
  ~CallerScope();

 private:
  bool changed_;
};

// As CallerScope, with the caller's umask for what is created (a directory's default ACL overrides
// it, as it should).
class CreatorScope {
 public:
  explicit CreatorScope(const fuse_ctx& caller);

 private:
  CallerScope scope_;
};

// Without CAP_FSETID: writing, truncating and chown clear the setuid and setgid bits as for an
// ordinary user.
class WithoutFsetid {
 public:
  explicit WithoutFsetid(bool wanted);
  WithoutFsetid(const WithoutFsetid&) = delete;
  WithoutFsetid& operator=(const WithoutFsetid&) = delete;
  ~WithoutFsetid();

 private:
  bool changed_;
};

}  // namespace shufflefs::fs
