#include "fs/settled_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "base/fd.h"

namespace shufflefs::fs {
namespace {

// A lease is for the file's owner, or for who has CAP_LEASE, which containers often lack.
bool take_lease(int fd, uid_t owner) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) return true;
  if (errno != EACCES) return false;
  ::setfsuid(owner);
  const bool taken = ::fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
  const int error = errno;
  ::setfsuid(::geteuid());
  errno = error;
  return taken;
}

bool has_writer(int fd, uid_t owner) {
  // Whoever opens the file in this moment waits until the lease is given back, and we would get a
  // signal: one that is ignored.
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (!take_lease(fd, owner)) return errno == EAGAIN;
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

Error not_a_file(const std::string& path) {
  return make_error(Code::kInvalidArgument, path + " is not a regular file");
}

Status check_file(const std::string& path, const OpenForWriting& is_open) {
  struct stat attr{};
  if (::lstat(path.c_str(), &attr) != 0)
    return errno == ENOENT ? ok() : errno_error("cannot stat " + path);
  if (!S_ISREG(attr.st_mode)) return not_a_file(path);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC));
  if (!fd) return errno == ENOENT ? ok() : errno_error("cannot open " + path);
  if (::fstat(fd.get(), &attr) != 0) return errno_error("cannot stat " + path);
  if (!S_ISREG(attr.st_mode)) return not_a_file(path);
  if (attr.st_nlink > 1) {
    return Error{Code::kInvalidArgument, EMLINK,
                 fmt::format("{} has {} names, and could be changed by another one: remove it, or "
                             "copy the file",
                             path, attr.st_nlink)};
  }
  if ((is_open && is_open(attr.st_dev, attr.st_ino)) || has_writer(fd.get(), attr.st_uid)) {
    return Error{Code::kRefused, EBUSY,
                 path + " is open for writing, or mapped so: close it, then commit"};
  }
  return ok();
}

}  // namespace

Status check_settled(const std::string& path, const OpenForWriting& is_open) {
  struct stat attr{};
  if (::lstat(path.c_str(), &attr) != 0 || !S_ISDIR(attr.st_mode)) return check_file(path, is_open);
  std::error_code failed;
  for (std::filesystem::directory_iterator it(path, failed), end; !failed && it != end;
       it.increment(failed)) {
    TRY(check_file(it->path().string(), is_open));
  }
  return failed ? Status(errno_error("cannot list " + path, failed.value())) : ok();
}

}  // namespace shufflefs::fs
