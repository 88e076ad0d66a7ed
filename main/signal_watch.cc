#include "main/signal_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/log.h"
#include "main/commands.h"
#include "main/mounts.h"

namespace shufflefs {

SignalWatch::SignalWatch(std::string mount, std::chrono::milliseconds patience)
    : mount_(std::move(mount)), patience_(patience) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGTERM);
  ::sigaddset(&wanted, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);  // a closed terminal is no reason to stop
  signals_ = Fd(::signalfd(-1, &wanted, SFD_CLOEXEC));
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { watch(); });
}

SignalWatch::~SignalWatch() {
  {
    const std::lock_guard lock(mu_);
    finished_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  thread_.join();
}

bool SignalWatch::wait() {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [this] { return requested_; });
  return by_signal_;
}

void SignalWatch::request_stop() { on_request(false, "the daemon itself"); }

void SignalWatch::on_request(bool by_signal, const char* why) {
  {
    const std::lock_guard lock(mu_);
    if (requested_) return;
    requested_ = true;
    by_signal_ = by_signal;
  }
  log_info("serve.stopping", {{"reason", why}, {"patience_ms", patience_.count()}});
  changed_.notify_all();
  ::eventfd_write(wake_.get(), 1);
}

void SignalWatch::watch() {
  using Clock = std::chrono::steady_clock;
  Clock::time_point deadline = Clock::time_point::max();
  bool signalled = false;
  while (true) {
    std::array<pollfd, 2> wanted = {pollfd{signals_.get(), POLLIN, 0},
                                    pollfd{wake_.get(), POLLIN, 0}};
    int timeout_ms = -1;
    if (deadline != Clock::time_point::max()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) end_by_force("the stop took too long");
      timeout_ms = static_cast<int>(left.count()) + 1;
    }
    if (::poll(wanted.data(), wanted.size(), timeout_ms) <= 0) continue;
    if ((wanted[1].revents & POLLIN) != 0) {
      eventfd_t value = 0;
      ::eventfd_read(wake_.get(), &value);
    }
    if ((wanted[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      if (::read(signals_.get(), &info, sizeof info) == sizeof info) {
        if (signalled) end_by_force("a second signal");
        signalled = true;
        on_request(true, info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
      }
    }
    const std::lock_guard lock(mu_);
    if (finished_) return;
    if (requested_ && deadline == Clock::time_point::max()) deadline = Clock::now() + patience_;
  }
}

void SignalWatch::end_by_force(const char* why) const {
  // Should even the unmounting hang, the alarm's default action ends the process.
  ::alarm(1);
  log_error("serve.ended_by_force", {{"reason", why}, {"mount", mount_}});
  if (const Status status = detach_mount(mount_); !status) {
    log_error("serve.mount_left", {{"mount", mount_}, {"reason", status.error().message}});
  }
  ::_exit(kExitFailure);
}

}  // namespace shufflefs
