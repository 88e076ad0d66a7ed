#include "main/local_access.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/log.h"

namespace shufflefs {
namespace {

constexpr auto kLookAgain = std::chrono::seconds(5);

LocalMode chosen(LocalMode wanted, bool kernel_passes) {
  if (wanted != LocalMode::kAuto) return wanted;
  return kernel_passes ? LocalMode::kPassthrough : LocalMode::kBind;
}

std::string why(LocalMode wanted, bool kernel_passes) {
  if (wanted != LocalMode::kAuto) return "as configured";
  return kernel_passes ? "the kernel has passthrough" : "the kernel has no passthrough (6.9 has)";
}

}  // namespace

LocalAccess::LocalAccess(Runtime& runtime, Metrics& metrics, const Settings& settings,
                         bool kernel_passes)
    : runtime_(runtime),
      mount_(without_links_above(settings.mount)),
      kernel_passes_(kernel_passes),
      mode_(chosen(settings.local_mode, kernel_passes)),
      reason_(why(settings.local_mode, kernel_passes)),
      events_(metrics),
      gate_(runtime, "local_access") {}

void LocalAccess::prepare(const std::vector<std::string>& roots) {
  if (mode_ == LocalMode::kBind) {
    roots_ = roots;
    bool any = false;
    for (const std::string& root : roots_) {
      const auto opened = events_.open(root);
      any = any || opened;
      if (opened) continue;
      reason_ = opened.error().message;
      log_warning("local.bind_refused",
                  {{"reason", reason_}, {"consequence", "programs go through the mount"}});
    }
    if (!any) mode_ = kernel_passes_ ? LocalMode::kPassthrough : LocalMode::kFuse;
  }
  log_info("local.mode", {{"mode", to_string(mode_)}, {"reason", reason_}});
}

void LocalAccess::start(merge::CommitSink& sink) {
  if (mode_ != LocalMode::kBind) return;
  sink_ = &sink;
  events_.deliver(sink);
  bind();
  gate_.spawn(keep());
}

void LocalAccess::bind() {
  std::vector<Binding> bindings;
  for (std::size_t i = 0; i < roots_.size(); ++i) {
    const auto opened = events_.open(roots_[i]);
    if (!opened) continue;
    if (*opened) sink_->spark_events_lost(sink_->drops_heard());
    bindings.push_back({roots_[i], fmt::format("{}/local/disk{}", mount_, i)});
  }
  if (const Status bound = bind_directories(bindings); !bound) {
    log_limited(LogLevel::kWarning, "local.not_bound",
                {{"reason", bound.error().message},
                 {"consequence", "programs go through the mount; tried again in 5 s"}});
  }
}

Task<void> LocalAccess::keep() {
  while (true) {
    co_await sleep_for(runtime_, kLookAgain);
    (void)co_await offload(runtime_, [this]() -> Status {
      bind();
      return ok();
    });
  }
}

}  // namespace shufflefs
