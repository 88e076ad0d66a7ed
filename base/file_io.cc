#include "base/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <tuple>

#include "base/check.h"
#include "base/fd.h"

namespace shufflefs {
namespace {

// ioprio_set(2). Not from <linux/ioprio.h>: since Linux 6.5, and in Debian 12's 6.1.192, it has an
// argument named "class", which is no C++.
constexpr int kWhoProcess = 1;
constexpr int kClassShift = 13;

// glibc has no wrappers. Who 0 is the calling thread.
int io_priority() { return static_cast<int>(::syscall(SYS_ioprio_get, kWhoProcess, 0)); }
void set_io_priority(int priority) { (void)::syscall(SYS_ioprio_set, kWhoProcess, 0, priority); }

// Of one call to the kernel. It locks the file meanwhile, and whoever else writes to it spins:
// four threads with 4 MiB each cost up to five times the CPU of four with 1 MiB.
constexpr std::size_t kMostWritten = std::size_t{1} << 20U;

FileStamp stamp_of(const struct stat& st) {
  return {st.st_ino, static_cast<uint64_t>(st.st_size),
          static_cast<uint64_t>(st.st_mtim.tv_sec) * 1'000'000'000 +
              static_cast<uint64_t>(st.st_mtim.tv_nsec)};
}

class PosixFile final : public File {
 public:
  PosixFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<std::size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    on_disk_wait(path_);
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::pread(fd_.get(), into.data() + done, into.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return errno_error(fmt::format("cannot read {} at offset {}", path_, offset + done));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Status write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    on_disk_wait(path_);
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n =
          ::pwrite(fd_.get(), bytes.data() + done, std::min(kMostWritten, bytes.size() - done),
                   static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        return errno_error(fmt::format("cannot write {} at offset {}", path_, offset + done));
      done += static_cast<std::size_t>(n);
    }
    return ok();
  }

  Status write_pieces_at(uint64_t offset,
                         std::span<const std::span<const std::byte>> pieces) override {
    on_disk_wait(path_);
    constexpr std::size_t kMostPieces = 512;  // below IOV_MAX
    std::array<iovec, kMostPieces> vector{};
    while (!pieces.empty()) {
      std::size_t count = 0;
      uint64_t bytes = 0;
      for (const std::span<const std::byte> piece : pieces) {
        if (count == vector.size() || (count > 0 && bytes + piece.size() > kMostWritten)) break;
        // pwritev does not write through it.
        vector[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};  // NOLINT
        bytes += piece.size();
      }
      if (count == 1) {
        TRY(write_at(offset, pieces.front()));
        offset += bytes;
        pieces = pieces.subspan(1);
        continue;
      }
      const ssize_t n =
          ::pwritev(fd_.get(), vector.data(), static_cast<int>(count), static_cast<off_t>(offset));
      if (n >= 0 && static_cast<uint64_t>(n) == bytes) {
        offset += bytes;
        pieces = pieces.subspan(count);
        continue;
      }
      // Short or failed: piece by piece, which says what is wrong.
      for (std::size_t i = 0; i < count; ++i) {
        TRY(write_at(offset, pieces[i]));
        offset += pieces[i].size();
      }
      pieces = pieces.subspan(count);
    }
    return ok();
  }

  bool preallocate(uint64_t offset, uint64_t bytes) override {
    on_disk_wait(path_);
    return ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes)) == 0;
  }

  Result<uint64_t> size() override {
    TRY_ASSIGN(const FileStamp now, stamp());
    return now.size;
  }
  Result<FileStamp> stamp() override {
    on_disk_wait(path_);
    struct stat st{};
    if (::fstat(fd_.get(), &st) != 0) return errno_error(fmt::format("cannot stat {}", path_));
    return stamp_of(st);
  }

  Status truncate(uint64_t size) override {
    on_disk_wait(path_);
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
      return errno_error(fmt::format("cannot truncate {} to {} bytes", path_, size));
    }
    return ok();
  }

  [[nodiscard]] int native_fd() const override { return fd_.get(); }

 private:
  Fd fd_;
  std::string path_;
};

// A path of this process to what an O_PATH descriptor is of, for calls that take no such
// descriptor.
std::string path_of(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

class PosixFileIo final : public FileIo {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    on_disk_wait(path);
    const int flags = mode == OpenMode::kRead ? O_RDONLY | O_NONBLOCK : O_RDWR | O_CREAT;
    Fd fd = open_resolved(path, flags, 0600);
    if (!fd) return errno_error(fmt::format("cannot open {}", path));
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd), path));
  }

  Result<FileInfo> stat(const std::string& path) override {
    on_disk_wait(path);
    struct stat st{};
    const Fd fd = open_resolved(path, O_PATH | O_NOFOLLOW);
    if (!fd || ::fstat(fd.get(), &st) != 0) return errno_error(fmt::format("cannot stat {}", path));
    const FileStamp stamp = stamp_of(st);
    return FileInfo{stamp.size,
                    S_ISDIR(st.st_mode),
                    S_ISREG(st.st_mode),
                    (st.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0,
                    st.st_uid,
                    st.st_gid,
                    stamp};
  }

  Result<std::vector<DirectoryEntry>> list(const std::string& path) override {
    on_disk_wait(path);
    const auto failed = [&] { return errno_error(fmt::format("cannot list {}", path)); };
    Fd fd = open_resolved(path, O_RDONLY | O_DIRECTORY);
    if (!fd) return failed();
    const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(fd.get()));
    if (!directory) return failed();
    std::ignore = fd.release();
    std::vector<DirectoryEntry> entries;
    while (true) {
      errno = 0;
      const dirent* const entry = ::readdir(directory.get());  // NOLINT(concurrency-mt-unsafe)
      if (entry == nullptr && errno != 0) return failed();
      if (entry == nullptr) return entries;
      const std::string_view name(entry->d_name);
      if (name == "." || name == "..") continue;
      entries.push_back({std::string(name), is_directory(directory.get(), *entry)});
    }
  }

  Status make_directories(const std::string& path) override {
    on_disk_wait(path);
    if (::mkdir(path.c_str(), 0777) == 0) return ok();
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error)
      return errno_error(fmt::format("cannot create the directory {}", path), error.value());
    return ok();
  }

  Status set_mode(const std::string& path, uint32_t mode) override {
    on_disk_wait(path);
    const Fd fd = open_resolved(path, O_PATH);
    if (!fd || ::chmod(path_of(fd).c_str(), mode) != 0)
      return errno_error(fmt::format("cannot change the mode of {}", path));
    return ok();
  }

  Status set_owner(const std::string& path, uint32_t uid, uint32_t gid) override {
    on_disk_wait(path);
    const Fd fd = open_resolved(path, O_PATH);
    if (!fd || ::fchownat(fd.get(), "", uid, gid, AT_EMPTY_PATH) != 0)
      return errno_error(fmt::format("cannot change the owner of {}", path));
    return ok();
  }

  Status rename(const std::string& from, const std::string& to) override {
    on_disk_wait(from);
    const ResolvedName source = resolve_parent(from);
    const ResolvedName target = source.directory ? resolve_parent(to) : ResolvedName{};
    if (!target.directory || ::renameat(source.directory.get(), source.name.c_str(),
                                        target.directory.get(), target.name.c_str()) != 0)
      return errno_error(fmt::format("cannot rename {} to {}", from, to));
    return ok();
  }

  Status remove_file(const std::string& path) override {
    on_disk_wait(path);
    const ResolvedName file = resolve_parent(path);
    if (!file.directory || ::unlinkat(file.directory.get(), file.name.c_str(), 0) != 0)
      return errno_error(fmt::format("cannot remove {}", path));
    return ok();
  }

  Status remove_empty_directory(const std::string& path) override {
    on_disk_wait(path);
    const ResolvedName directory = resolve_parent(path);
    if (!directory.directory ||
        ::unlinkat(directory.directory.get(), directory.name.c_str(), AT_REMOVEDIR) != 0)
      return errno_error(fmt::format("cannot remove the directory {}", path));
    return ok();
  }

  // Below the last component the library goes by descriptors and follows no link; so does this
  // above it.
  Status remove_tree(const std::string& path) override {
    on_disk_wait(path);
    const ResolvedName tree = resolve_parent(path);
    std::error_code error(tree.directory ? 0 : errno, std::generic_category());
    if (error.value() == ENOENT) return ok();
    if (!error) std::filesystem::remove_all(path_of(tree.directory) + "/" + tree.name, error);
    if (error)
      return errno_error(fmt::format("cannot remove the directory {}", path), error.value());
    return ok();
  }

  Result<std::optional<std::string>> extended_attribute(const std::string& path,
                                                        const std::string& name) override {
    on_disk_wait(path);
    std::string value(4096, '\0');
    const Fd fd = open_resolved(path, O_PATH);
    const ssize_t n =
        fd ? ::getxattr(path_of(fd).c_str(), name.c_str(), value.data(), value.size()) : -1;
    if (n < 0 && fd && (errno == ENODATA || errno == EOPNOTSUPP))
      return std::optional<std::string>{};
    if (n < 0) return errno_error(fmt::format("cannot read the attribute {} of {}", name, path));
    value.resize(static_cast<std::size_t>(n));
    return std::optional<std::string>(std::move(value));
  }

  Result<DiskSpace> space(const std::string& path) override {
    on_disk_wait(path);
    struct statvfs st{};
    if (::statvfs(path.c_str(), &st) != 0)
      return errno_error(fmt::format("cannot statvfs {}", path));
    return DiskSpace{st.f_blocks * st.f_frsize, st.f_bavail * st.f_frsize};
  }

 private:
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  static bool is_directory(DIR* in, const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
    struct stat info{};
    return ::fstatat(::dirfd(in), entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(info.st_mode);
  }
};

}  // namespace

std::unique_ptr<FileIo> make_posix_file_io() { return std::make_unique<PosixFileIo>(); }

Status read_exactly(int fd, const std::string& path, uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(fmt::format("cannot read {} at offset {}", path, offset));
    if (n == 0) return make_error(Code::kCorruptData, fmt::format("{} ends at {}", path, offset));
    into = into.subspan(static_cast<std::size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return ok();
}

Result<std::vector<std::byte>> read_file(FileIo& io, const std::string& path, uint64_t limit) {
  TRY_ASSIGN(const std::unique_ptr<File> file, io.open(path, OpenMode::kRead));
  TRY_ASSIGN(const uint64_t size, file->size());
  if (size > limit) {
    return make_error(
        Code::kTooLarge,
        fmt::format("{} has {} bytes, more than the {} that are allowed", path, size, limit));
  }
  std::vector<std::byte> bytes(size);
  TRY_ASSIGN(const std::size_t n, file->read_at(0, bytes));
  bytes.resize(n);
  return bytes;
}

Status replace_file(FileIo& io, const std::string& path, std::span<const std::byte> bytes) {
  const std::string temporary = path + ".new";
  {
    TRY_ASSIGN(const std::unique_ptr<File> file, io.open(temporary, OpenMode::kWriteCreate));
    TRY(file->truncate(0));
    TRY(file->write_at(0, bytes));
  }
  return io.rename(temporary, path);
}

BackgroundIo::BackgroundIo() : before_(io_priority()) {
  set_io_priority(kIdleClass << kClassShift);
}

BackgroundIo::~BackgroundIo() {
  if (before_ >= 0) set_io_priority(before_);
}

int BackgroundIo::priority_class() { return io_priority() >> kClassShift; }

}  // namespace shufflefs
