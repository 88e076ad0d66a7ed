#include "base/fd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace shufflefs {
namespace {

Fd open_by_components(const std::string& path, int flags, mode_t mode) {
  Fd at(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string_view rest = path;
  while (at) {
    while (rest.starts_with('/')) rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const std::string name(rest.substr(0, end));
    rest.remove_prefix(end);
    const bool is_last = rest.find_first_not_of('/') == std::string_view::npos;
    if (name == "..") {
      errno = EXDEV;
      return {};
    }
    if (is_last) {
      return Fd(::openat(at.get(), name.empty() ? "." : name.c_str(),
                         flags | O_NOFOLLOW | O_CLOEXEC, mode));
    }
    Fd next(::openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC));
    if (!next && errno == ENOTDIR) {
      // Either a file, or a link, which is an error of its own.
      const Fd there(::openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      struct stat info{};
      errno = there && ::fstat(there.get(), &info) == 0 && S_ISLNK(info.st_mode) ? ELOOP : ENOTDIR;
    }
    at = std::move(next);
  }
  return at;
}

}  // namespace

Fd open_resolved(const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_NO_SYMLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  if (fd || (errno != ENOSYS && errno != EPERM)) return fd;
  return open_by_components(path, flags, mode);
}

ResolvedName resolve_parent(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  ResolvedName resolved;
  if (slash == std::string::npos || slash + 1 == path.size()) {
    errno = EINVAL;
    return resolved;
  }
  resolved.name = path.substr(slash + 1);
  resolved.directory =
      open_resolved(slash == 0 ? "/" : path.substr(0, slash), O_PATH | O_DIRECTORY);
  return resolved;
}

}  // namespace shufflefs
