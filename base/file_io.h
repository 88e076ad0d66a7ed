// All disk I/O of the domain behind one small interface, so that a full, sick or torn disk is a
// class in a test and not a mock framework. The kernel-facing side (fs/) talks to the kernel
// itself: it must pass on what the disk says.
//
// Paths are absolute, and symbolic links anywhere in them are refused (ELOOP, see
// base/fd.h): users write below our directories, and nobody leads us out of them.
// Threads: both interfaces are safe for concurrent calls. Failure: errors carry the errno and name
// the path. Cost: what the system call costs; everything blocks, so call from disk threads only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace shufflefs {

// What a file is, as far as its file system tells: another file, or a changed one, has another
// stamp. Only ever compared for equality.
struct FileStamp {
  uint64_t inode = 0;
  uint64_t size = 0;
  uint64_t modified_ns = 0;  // since 1970
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

class File {
 public:
  virtual ~File() = default;
  // Reads until `into` is full or the file ends; the count is short only at the end.
  virtual Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) = 0;
  // Writes everything or fails; after a failure any part may have been written.
  virtual Status write_at(uint64_t offset, std::span<const std::byte> bytes) = 0;
  // The same for pieces that lie in different places of the memory.
  virtual Status write_pieces_at(uint64_t offset,
                                 std::span<const std::span<const std::byte>> pieces) {
    for (const std::span<const std::byte> piece : pieces) {
      TRY(write_at(offset, piece));
      offset += piece.size();
    }
    return ok();
  }
  // Asks for room on the disk without changing the size, so that what is appended in many steps
  // lies in few extents. A wish: false if the file system cannot do it or has no room.
  virtual bool preallocate(uint64_t /*offset*/, uint64_t /*bytes*/) { return false; }
  virtual Result<uint64_t> size() = 0;
  virtual Result<FileStamp> stamp() = 0;
  virtual Status truncate(uint64_t size) = 0;
  // The descriptor below, for FUSE passthrough and sendfile; -1 where there is none (simulation).
  [[nodiscard]] virtual int native_fd() const = 0;
};

struct FileInfo {
  uint64_t size = 0;
  bool is_directory = false;
  bool is_regular = false;
  bool is_read_only = false;  // nobody may write by its mode (root can nevertheless)
  uint32_t uid = 0;
  uint32_t gid = 0;
  FileStamp stamp{};
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
};

struct DiskSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // for unprivileged writers, as statvfs's f_bavail
};

enum class OpenMode { kRead, kWriteCreate };

class FileIo {
 public:
  virtual ~FileIo() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<FileInfo> stat(const std::string& path) = 0;
  virtual Result<std::vector<DirectoryEntry>> list(
      const std::string& path) = 0;                              // without . and ..; unsorted
  virtual Status make_directories(const std::string& path) = 0;  // succeeds if it is there
  virtual Status set_mode(const std::string& path, uint32_t mode) = 0;
  // A simulated disk has no owners.
  virtual Status set_owner(const std::string& /*path*/, uint32_t /*uid*/, uint32_t /*gid*/) {
    return ok();
  }
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove_file(const std::string& path) = 0;
  // Fails (ENOTEMPTY) if something is in it.
  virtual Status remove_empty_directory(const std::string& path) = 0;
  virtual Status remove_tree(
      const std::string& path) = 0;  // succeeds if it is not there; never follows links
  virtual Result<std::optional<std::string>> extended_attribute(const std::string& path,
                                                                const std::string& name) = 0;
  virtual Result<DiskSpace> space(const std::string& path) = 0;
};

// The real thing.
[[nodiscard]] std::unique_ptr<FileIo> make_posix_file_io();

// Fills `into` from `offset` of an open file, which messages call `path`. kCorruptData if it ends
// before. Blocks.
[[nodiscard]] Status read_exactly(int fd, const std::string& path, uint64_t offset,
                                  std::span<std::byte> into);

// Reads a whole file of at most `limit` bytes (kTooLarge above it).
[[nodiscard]] Result<std::vector<std::byte>> read_file(FileIo& io, const std::string& path,
                                                       uint64_t limit);

// Replaces a small file: written under a temporary name in the same directory, then renamed.
[[nodiscard]] Status replace_file(FileIo& io, const std::string& path,
                                  std::span<const std::byte> bytes);

// While it exists, the calling thread's reads from disks go behind everybody else's (the idle class
// of ioprio_set(2)). The I/O schedulers mq-deadline and bfq heed it, kyber and none do not; it
// means nothing for buffered writes (docs/benchmarks.md). Made and destroyed on the same thread.
// Cost: two system calls, 0.3 us.
class BackgroundIo {
 public:
  BackgroundIo();
  ~BackgroundIo();
  BackgroundIo(const BackgroundIo&) = delete;
  BackgroundIo& operator=(const BackgroundIo&) = delete;

  // The class of the calling thread, as ioprio_get(2) has it.
  [[nodiscard]] static int priority_class();
  static constexpr int kIdleClass = 3;

 private:
  const int before_;
};

}  // namespace shufflefs
