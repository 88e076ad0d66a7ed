#include "fs/request.h"

#include <cerrno>
#include <string_view>
#include <utility>

namespace shufflefs::fs {
namespace {

// libfuse calls the handlers without a word about the request's number; the session and the
// handlers of one request run on one thread.
thread_local RequestId current;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

// enum fuse_opcode of <linux/fuse.h>; an operation that the kernel does not send us is not here.
constexpr uint32_t kForget = 2;
constexpr uint32_t kBatchForget = 42;
constexpr std::array<std::pair<uint32_t, std::string_view>, 36> kOperations = {{
    {1, "lookup"},       {3, "getattr"},
    {4, "setattr"},      {5, "readlink"},
    {6, "symlink"},      {8, "mknod"},
    {9, "mkdir"},        {10, "unlink"},
    {11, "rmdir"},       {12, "rename"},
    {13, "link"},        {14, "open"},
    {15, "read"},        {16, "write"},
    {17, "statfs"},      {18, "release"},
    {20, "fsync"},       {21, "setxattr"},
    {22, "getxattr"},    {23, "listxattr"},
    {24, "removexattr"}, {25, "flush"},
    {27, "opendir"},     {28, "readdir"},
    {29, "releasedir"},  {30, "fsyncdir"},
    {34, "access"},      {35, "create"},
    {39, "ioctl"},       {43, "fallocate"},
    {44, "readdirplus"}, {45, "rename"},
    {46, "lseek"},       {47, "copy_file_range"},
    {51, "tmpfile"},     {52, "statx"},
}};

// The errors that say that something is wrong here, not that a file is not there.
constexpr std::array<std::pair<int, std::string_view>, 10> kBadErrors = {{{EIO, "EIO"},
                                                                          {ENOSPC, "ENOSPC"},
                                                                          {EDQUOT, "EDQUOT"},
                                                                          {EMFILE, "EMFILE"},
                                                                          {ENFILE, "ENFILE"},
                                                                          {ENOMEM, "ENOMEM"},
                                                                          {ETIMEDOUT, "ETIMEDOUT"},
                                                                          {EROFS, "EROFS"},
                                                                          {ESTALE, "ESTALE"},
                                                                          {EBADF, "EBADF"}}};

}  // namespace

RequestId current_request() { return current; }

void note_request(uint64_t unique) {
  current = RequestId{unique & ~RequestId::kResentBit, (unique & RequestId::kResentBit) != 0};
}

RequestTimes::RequestTimes(Metrics& metrics)
    : other_times_(
          metrics
              .histograms("shufflefs_mount_request_seconds",
                          "Time of kernel requests, without reads and writes in passthrough.",
                          "operation")
              .with("other")),
      forgets_(metrics.counter("shufflefs_mount_forgets_total",
                               "Inodes, or groups of them, that the kernel forgot.")),
      errors_(metrics.counters("shufflefs_mount_errors_total",
                               "Kernel requests that failed with a serious errno.", "errno")) {
  auto& families = metrics.histograms("shufflefs_mount_request_seconds", "", "operation");
  for (const auto& [opcode, name] : kOperations)
    times_.at(opcode) = &families.with(std::string(name));
  for (const auto& [error, name] : kBadErrors) errors_.with(std::string(name));
}

void RequestTimes::begin(uint64_t unique, uint32_t opcode) {
  if (opcode == kForget || opcode == kBatchForget) return forgets_.add();
  // The kernel counts its numbers up by two.
  Slot& slot = (*slots_)[(unique >> 1U) % kSlots];
  slot.began_ns.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  slot.opcode.store(opcode, std::memory_order_relaxed);
  slot.unique.store(unique, std::memory_order_release);
}

void RequestTimes::end(uint64_t unique, int error) {
  if (error != 0) count_error(-error);
  Slot& slot = (*slots_)[(unique >> 1U) % kSlots];
  if (slot.unique.load(std::memory_order_acquire) != unique) return;
  const auto began = slot.began_ns.load(std::memory_order_relaxed);
  const uint32_t opcode = slot.opcode.load(std::memory_order_relaxed);
  // Another request may have taken the slot meanwhile.
  uint64_t expected = unique;
  if (!slot.unique.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return;
  const auto took = std::chrono::nanoseconds(Clock::now().time_since_epoch().count() - began);
  Histogram* const times = opcode < kOpcodes ? times_[opcode] : nullptr;
  (times != nullptr ? *times : other_times_).observe(took);
}

void RequestTimes::count_error(int error) {
  for (const auto& [bad, name] : kBadErrors)
    if (bad == error) return errors_.with(std::string(name)).add();
}

}  // namespace shufflefs::fs
