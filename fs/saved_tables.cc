#include "fs/saved_tables.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "base/log.h"

namespace shufflefs::fs {
namespace {

constexpr uint64_t kMagic = 0x5348464653415631;  // "SHFFSAV1"
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kFirstBytes = std::size_t{256} << 10U;

[[noreturn]] void fail(const char* name, const char* what) {
  throw std::runtime_error(
      fmt::format("the mount's saved state '{}' {}: {}", name, what, std::strerror(errno)));
}

Fd memory_file(Fd given, const char* name) {
  if (given) return given;
  Fd made(::memfd_create(name, MFD_CLOEXEC));
  if (!made) fail(name, "cannot be made");
  return made;
}

}  // namespace

struct SavedMemory::Header {
  uint64_t magic;  // written last
  uint64_t slot_bytes;
  std::array<uint64_t, kCounters> counters;
};

SavedMemory::SavedMemory(Fd file, const char* name, uint32_t slot_bytes, std::size_t max_bytes)
    : file_(memory_file(std::move(file), name)),
      name_(name),
      slot_bytes_(slot_bytes),
      max_bytes_(max_bytes) {
  void* const mapped = ::mmap(nullptr, max_bytes_, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
  if (mapped == MAP_FAILED) fail(name, "cannot be mapped");
  base_ = static_cast<std::byte*>(mapped);
  initialise(slot_bytes);
}

SavedMemory::~SavedMemory() { ::munmap(base_, max_bytes_); }

void SavedMemory::initialise(uint32_t slot_bytes) {
  struct stat attr{};
  if (::fstat(file_.get(), &attr) != 0) fail(name_, "cannot be read");
  auto bytes = static_cast<std::size_t>(attr.st_size);
  if (bytes > max_bytes_) {
    errno = EFBIG;
    fail(name_, "is larger than it can be");
  }
  if (bytes < kFirstBytes) {
    bytes = kFirstBytes;
    if (::ftruncate(file_.get(), kFirstBytes) != 0) fail(name_, "cannot be made larger");
  }
  if (header().magic == 0) {
    header().slot_bytes = slot_bytes;
    std::atomic_ref(header().magic).store(kMagic, std::memory_order_release);
  }
  if (header().magic != kMagic || header().slot_bytes != slot_bytes) {
    errno = EPROTO;
    fail(name_, "has the layout of another version: stop the node and start it again");
  }
  const MutexLock lock(mu_);
  slots_ = static_cast<uint32_t>((bytes - kHeaderBytes) / slot_bytes_);
}

std::byte* SavedMemory::slot(uint32_t number) const {
  return base_ + kHeaderBytes + std::size_t{number} * slot_bytes_;
}

uint64_t& SavedMemory::counter(unsigned number) const { return header().counters.at(number); }

void SavedMemory::log_lost(std::size_t records) const {
  log_error("mount.saved_record_lost", {{"table", name_}, {"records", records}});
}

void SavedMemory::grow() {
  const uint32_t wanted = slots_ + slots_ / 2;
  const std::size_t bytes = kHeaderBytes + std::size_t{wanted} * slot_bytes_;
  if (bytes > max_bytes_ || ::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) {
    if (bytes > max_bytes_) errno = ENOMEM;
    fail(name_, "cannot grow");
  }
  free_.reserve(wanted);
  for (uint32_t i = wanted; i-- > slots_;) free_.push_back(i);
  slots_ = wanted;
}

uint32_t SavedMemory::take() {
  const MutexLock lock(mu_);
  if (free_.empty()) grow();
  const uint32_t number = free_.back();
  free_.pop_back();
  return number;
}

void SavedMemory::give_back(uint32_t number) {
  const MutexLock lock(mu_);
  free_.push_back(number);
}

}  // namespace shufflefs::fs
