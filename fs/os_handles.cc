#include "fs/os_handles.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
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

}  // namespace shufflefs::fs
