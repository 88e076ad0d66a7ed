#include "net/ess/open_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "base/endian.h"
#include "base/parse.h"
#include "base/reactor_mark.h"

namespace shufflefs::net::ess {
namespace {

constexpr uint32_t kWindow = 512;
constexpr std::size_t kOffsetBytes = 8;
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

// For kernels and sandboxes without openat2: component by component, none of them a link.
int open_by_steps(int root, std::string_view below) {
  Fd directory(::fcntl(root, F_DUPFD_CLOEXEC, 0));
  const auto parts = split(below, '/');
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    directory = Fd(::openat(directory.get(), std::string(parts[i]).c_str(),
                            O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return -1;
  }
  return ::openat(directory.get(), std::string(parts.back()).c_str(), kReadFlags);
}

// Reads all of `bytes` at `offset`; false without an error if that would wait and must not.
std::optional<Status> read_all(int fd, std::span<std::byte> bytes, uint64_t offset, Wait wait,
                               const std::string& path) {
  if (wait != Wait::kNo) on_disk_wait(path);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const iovec part{bytes.data() + done, bytes.size() - done};
    const ssize_t n = ::preadv2(fd, &part, 1, static_cast<off_t>(offset + done),
                                wait == Wait::kNo ? RWF_NOWAIT : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && wait == Wait::kNo) return std::nullopt;  // EAGAIN, or NOWAIT is not known here
    if (n < 0) return errno_error(fmt::format("cannot read {} at offset {}", path, offset + done));
    if (n == 0) {
      return make_error(Code::kCorruptIndex, fmt::format("{} ends at offset {}, before {}", path,
                                                         offset + done, offset + bytes.size()));
    }
    done += static_cast<std::size_t>(n);
  }
  return ok();
}

}  // namespace

Result<Fd> open_beneath(const FilePlace& place) {
  on_disk_wait(place.shown);
  open_how how{};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  Fd fd(static_cast<int>(
      ::syscall(SYS_openat2, place.root_fd, place.below.c_str(), &how, sizeof(how))));
  if (!fd && (errno == ENOSYS || errno == EPERM))
    fd = Fd(open_by_steps(place.root_fd, place.below));
  if (!fd) return errno_error(fmt::format("cannot open {}", place.shown));
  return fd;
}

Result<OpenOutput::Part> OpenOutput::open_part(FilePlace place) {
  TRY_ASSIGN(Fd fd, open_beneath(place));
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return errno_error(fmt::format("cannot stat {}", place.shown));
  if (!S_ISREG(st.st_mode)) {
    return make_error(Code::kInvalidArgument, fmt::format("{} is not a regular file", place.shown));
  }
  return Part{
      std::move(place), std::move(fd), st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size),
      st.st_mtim};
}

bool OpenOutput::same(const Part& part) {
  struct stat st{};
  on_disk_wait(part.place.shown);
  return ::fstatat(part.place.root_fd, part.place.below.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_dev == part.device && st.st_ino == part.inode &&
         static_cast<uint64_t>(st.st_size) == part.size &&
         st.st_mtim.tv_sec == part.modified.tv_sec && st.st_mtim.tv_nsec == part.modified.tv_nsec;
}

bool OpenOutput::is_current() const { return same(data_) && (!index_ || same(*index_)); }

Result<std::shared_ptr<OpenOutput>> OpenOutput::open(FilePlace data, std::optional<FilePlace> index,
                                                     std::size_t lane) {
  // The index first: Spark renames it first, and without it nothing was committed.
  std::optional<Part> index_part;
  if (index) {
    TRY_ASSIGN(index_part, open_part(std::move(*index)));
  }
  TRY_ASSIGN(Part data_part, open_part(std::move(data)));
  return std::shared_ptr<OpenOutput>(
      new OpenOutput(std::move(data_part), std::move(index_part), lane));
}

std::optional<Status> OpenOutput::load_window(uint32_t begin, Wait wait) {
  const uint64_t entries = index_->size / kOffsetBytes;
  const auto count = static_cast<std::size_t>(std::min<uint64_t>(kWindow, entries - begin));
  std::array<std::byte, kWindow * kOffsetBytes> raw{};
  const auto bytes = std::span(raw).first(count * kOffsetBytes);
  auto read =
      read_all(index_->fd.get(), bytes, uint64_t{begin} * kOffsetBytes, wait, index_->place.shown);
  if (!read || !*read) return read;
  window_.resize(count);
  for (std::size_t i = 0; i < count; ++i) window_[i] = load_be<uint64_t>(&raw.at(i * kOffsetBytes));
  window_begin_ = begin;
  return ok();
}

std::optional<Status> OpenOutput::read_offsets(uint32_t begin, uint32_t end, Wait wait,
                                               uint64_t& first, uint64_t& last) {
  for (const auto& [wanted, value] : {std::pair{begin, &first}, std::pair{end, &last}}) {
    if (wanted < window_begin_ || wanted - window_begin_ >= window_.size()) {
      auto loaded = load_window(wanted, wait);
      if (!loaded || !*loaded) return loaded;
    }
    *value = window_[wanted - window_begin_];
  }
  return ok();
}

std::optional<Result<OpenOutput::Range>> OpenOutput::range(uint32_t begin, uint32_t end,
                                                           Wait wait) {
  if (!index_) return Range{0, data_.size};
  const uint64_t entries = index_->size / kOffsetBytes;
  if (begin >= end || end >= entries) {
    return Result<Range>(make_error(
        Code::kInvalidArgument, fmt::format("it is beyond end {} of {}",
                                            entries == 0 ? 0 : entries - 1, index_->place.shown)));
  }
  const MutexLock lock(mu_);
  uint64_t first = 0;
  uint64_t last = 0;
  const auto read = read_offsets(begin, end, wait, first, last);
  if (!read) return std::nullopt;
  if (!*read) return Result<Range>(read->error());
  if (first > last || last > data_.size) {
    return Result<Range>(make_error(
        Code::kCorruptIndex,
        fmt::format("{} says that partitions {} to {} are bytes {} to {} of {}, which has {}",
                    index_->place.shown, begin, end, first, last, data_.place.shown, data_.size)));
  }
  return Range{first, last - first};
}

}  // namespace shufflefs::net::ess
