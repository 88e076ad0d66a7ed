#include "fs/proc_path.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>

namespace shufflefs::fs {

ProcPath::ProcPath(int fd) {
  *fmt::format_to_n(text_.data(), text_.size() - 1, "/proc/self/fd/{}", fd).out = '\0';
}

std::string path_of_descriptor(int fd) {
  std::array<char, PATH_MAX> text{};
  const ssize_t length = ::readlink(ProcPath(fd).get(), text.data(), text.size());
  if (length <= 0 || static_cast<std::size_t>(length) == text.size()) return {};
  std::string path(text.data(), static_cast<std::size_t>(length));
  // A removed file is shown as "path (deleted)" and a disconnected one as "/": what counts is what
  // the path leads to.
  struct stat by_path{};
  struct stat by_fd{};
  if (::lstat(path.c_str(), &by_path) != 0 || ::fstat(fd, &by_fd) != 0) return {};
  if (by_path.st_dev != by_fd.st_dev || by_path.st_ino != by_fd.st_ino) return {};
  return path;
}

}  // namespace shufflefs::fs
