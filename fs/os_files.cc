#include "fs/os_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>

namespace shufflefs::fs {
namespace {

// struct file_handle ends in a flexible array, so it is laid out in a buffer.
struct HandleBuffer {
  alignas(file_handle) std::array<std::byte, sizeof(file_handle) + FileHandle::kMaxBytes> bytes{};
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes.data()); }
};

}  // namespace

FileHandle handle_of(int fd) {
  HandleBuffer buffer;
  buffer.get()->handle_bytes = FileHandle::kMaxBytes;
  int mount_id = 0;
  FileHandle handle;
  if (::name_to_handle_at(fd, "", buffer.get(), &mount_id, AT_EMPTY_PATH) != 0) return handle;
  handle.type = buffer.get()->handle_type;
  handle.length = buffer.get()->handle_bytes;
  std::copy_n(buffer.get()->f_handle, handle.length, handle.bytes.begin());
  return handle;
}

Fd open_handle(int mount_fd, const FileHandle& handle, int flags) {
  HandleBuffer buffer;
  buffer.get()->handle_bytes = handle.length;
  buffer.get()->handle_type = handle.type;
  std::copy_n(handle.bytes.begin(), handle.length, buffer.get()->f_handle);
  return Fd(::open_by_handle_at(mount_fd, buffer.get(), flags | O_CLOEXEC));
}

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
