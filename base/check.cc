#include "base/check.h"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "base/log.h"

namespace shufflefs {
namespace {

thread_local bool is_reactor = false;
std::atomic<uint64_t> waits{0};

}  // namespace

ReactorMark::ReactorMark() : before_(std::exchange(is_reactor, true)) {}
ReactorMark::~ReactorMark() { is_reactor = before_; }

AllowDiskWait::AllowDiskWait(const char* /*reason*/) : before_(std::exchange(is_reactor, false)) {}
AllowDiskWait::~AllowDiskWait() { is_reactor = before_; }

void on_disk_wait(std::string_view path) {
  if (!is_reactor) return;
  waits.fetch_add(1, std::memory_order_relaxed);
  log_limited(LogLevel::kError, "reactor.disk_wait", {{"path", path}});
#ifndef NDEBUG
  check_failed(__FILE__, __LINE__, fmt::format("the reactor waits for {}", path).c_str());
#endif
}

uint64_t reactor_disk_waits() { return waits.load(std::memory_order_relaxed); }

}  // namespace shufflefs
