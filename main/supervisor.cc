#include "main/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "base/log.h"
#include "fs/mount.h"
#include "fs/session.h"
#include "main/commands.h"
#include "main/config.h"
#include "main/service_manager.h"

namespace shufflefs {
namespace {

constexpr auto kGreeting = std::chrono::seconds(10);
constexpr auto kHandOverPatience = std::chrono::seconds(10);

}  // namespace

Supervisor::Supervisor(const Settings& settings) : settings_(settings) {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) ::sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);  // a closed terminal is no reason to stop
  signals_ = Fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool Supervisor::outlives_workers() const { return settings_.keep_mount && state_.can_resend; }

Status Supervisor::lock_data() {
  for (const std::string& data : settings_.data) {
    TRY_ASSIGN(fs::InstanceLock lock, fs::InstanceLock::take(data));
    state_.locks.push_back(lock.take_descriptor());
  }
  return ok();
}

Status Supervisor::make_mount() {
  TRY_ASSIGN(fs::Mount made, fs::Mount::make(settings_.mount));
  state_.directory = made.directory();
  state_.connection_number = made.connection_number();
  state_.connection = made.take_connection();
  mount_.emplace(std::move(made));
  state_.generation = 0;
  state_.kept.clear();
  TRY_ASSIGN(state_.init, fs::read_init(state_.connection.get(), kGreeting));
  state_.can_resend = fs::offers_resend(state_.init);
  return make_tables(state_);
}

Status Supervisor::make_settings_file() {
  Fd file(::memfd_create("settings", MFD_CLOEXEC));
  const std::string text = settings_as_toml(settings_);
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return errno_error("cannot keep the settings for the worker");
  state_.settings = std::move(file);
  return ok();
}

int Supervisor::mount() {
  fs::raise_file_limit();
  Status made = lock_data();
  if (made) made = make_settings_file();
  if (made) made = make_mount();
  if (!made) {
    log_error("serve.failed",
              {{"code", to_string(made.error().code)}, {"reason", made.error().message}});
    return made.error().code == Code::kConfig ? kExitUsage : kExitFailure;
  }
  if (!outlives_workers()) {
    log_warning("mount.not_kept",
                {{"reason", settings_.keep_mount
                                ? "this kernel does not send requests again (6.9 or later does)"
                                : "keep-mount is off"},
                 {"consequence",
                  "should the worker die, the mount is made again: open files and "
                  "calls under way fail"}});
  }
  return kExitOk;
}

int Supervisor::take_over() {
  fs::raise_file_limit();
  const auto failed = [](const Error& error) {
    log_error("takeover.failed", {{"code", to_string(error.code)}, {"reason", error.message}});
    return error.code == Code::kConfig ? kExitUsage : kExitFailure;
  };
  auto channel = ask_for_takeover(settings_);
  if (!channel) return failed(channel.error());
  // The old worker drains first.
  auto state = receive_state(channel->get(), kHandOverPatience + std::chrono::seconds(5));
  if (!state) return failed(state.error());
  state_ = std::move(*state);
  if (const Status made = make_settings_file(); !made) return failed(made.error());
  for (const Fd& lock : state_.locks) fs::InstanceLock::note_holder(lock.get());
  mount_.emplace(fs::Mount::adopt(state_.directory, Fd(), state_.connection_number));
  // Before the old one ends, which systemd would take for the service's end.
  tell_service_manager(fmt::format("MAINPID={}", ::getpid()));
  if (const Status told = send(channel->get(), {.type = Message::kTaken}); !told) {
    mount_->leave();
    return failed(told.error());
  }
  was_ever_ready_ = true;
  log_info("takeover.done", {{"mount", state_.directory}, {"generation", state_.generation}});
  return kExitOk;
}

int Supervisor::run() {
  if (settings_.keep_mount) {
    auto control = ControlSocket::listen(settings_);
    if (control)
      control_.emplace(std::move(*control));
    else
      log_warning("takeover.unavailable", {{"reason", control.error().message}});
  }
  start_worker();
  while (!exit_code_) {
    const bool accepts = control_ && phase_ == Phase::kServing && is_ready_;
    std::array<pollfd, 3> wanted{
        pollfd{signals_.get(), POLLIN, 0},
        pollfd{worker_ && channel_is_open_ ? worker_->channel() : -1, POLLIN, 0},
        pollfd{accepts ? control_->fd() : -1, POLLIN, 0},
    };
    ::poll(wanted.data(), wanted.size(), static_cast<int>(until_next_event().count()));
    if ((wanted[1].revents & POLLIN) != 0) on_worker_message();
    if ((wanted[0].revents & POLLIN) != 0) on_signal();
    if ((wanted[2].revents & POLLIN) != 0) on_control();
    if (deadline_ && Clock::now() >= *deadline_) end_worker_now("it took too long");
    if (restart_at_ && Clock::now() >= *restart_at_) start_worker();
  }
  return *exit_code_;
}

std::chrono::milliseconds Supervisor::until_next_event() const {
  Clock::time_point next = Clock::now() + std::chrono::minutes(1);
  if (deadline_) next = std::min(next, *deadline_);
  if (restart_at_) next = std::min(next, *restart_at_);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

void Supervisor::start_worker() {
  restart_at_.reset();
  is_ready_ = false;
  worker_started_ = Clock::now();
  auto started = WorkerProcess::start(settings_.node.str());
  if (started) {
    worker_.emplace(std::move(*started));
    channel_is_open_ = true;
    // Should it die meanwhile, its end is noticed like any other.
    if (send_state(worker_->channel(), state_)) {
      ++state_.generation;
      return;
    }
    worker_->kill(SIGKILL);
    return;
  }
  log_error("serve.no_worker", {{"reason", started.error().message}});
  worker_failed({});
}

void Supervisor::on_worker_message() {
  auto message = receive(worker_->channel(), std::chrono::milliseconds(0));
  if (message && *message) return take_message(std::move(**message));
  // The end of the channel is the end of the worker: SIGCHLD will say so.
  channel_is_open_ = !message && message.error().code == Code::kTimeout;
}

void Supervisor::take_message(ChannelMessage message) {
  const MountState::KeptId id{static_cast<fs::KeptKind>(message.kind), message.id};
  switch (message.type) {
    case Message::kKeep: state_.kept.insert_or_assign(id, std::move(message.fd)); break;
    case Message::kDrop: state_.kept.erase(id); break;
    case Message::kReady:
      was_ever_ready_ = is_ready_ = true;
      worker_ready_ = Clock::now();
      tell_service_manager("READY=1");
      if (state_.generation > 1) {
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(worker_ready_ - worker_started_);
        log_info("serve.worker_replaced", {{"pid", worker_->pid()}, {"took_ms", took.count()}});
      }
      break;
    case Message::kLogLevel: set_log_level(static_cast<LogLevel>(message.kind)); break;
    default: break;
  }
}

// The next worker reads it from the settings.
void Supervisor::set_log_level(LogLevel level) {
  settings_.log_level = level;
  log_set_level(level);
  if (const Status made = make_settings_file(); !made)
    log_warning("serve.log_level_not_kept", {{"reason", made.error().message}});
}

// What it had sent before it died counts.
void Supervisor::drain_worker_messages() {
  while (true) {
    auto message = receive(worker_->channel(), std::chrono::milliseconds(0));
    if (!message || !*message) return;
    take_message(std::move(**message));
  }
}

void Supervisor::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) {
      if (!worker_) continue;
      if (const auto end = worker_->ended()) worker_ended(*end);
    } else if (phase_ == Phase::kStopping) {
      end_worker_now("a second signal");
    } else if (phase_ == Phase::kHandedOver) {
      exit_code_ = kExitOk;
    } else {
      begin_stop(info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
    }
  }
}

void Supervisor::begin_stop(const char* why) {
  log_info("serve.stopping", {{"reason", why}, {"patience_ms", kStopPatience.count()}});
  phase_ = Phase::kStopping;
  tell_service_manager("STOPPING=1");
  deadline_ = Clock::now() + kStopPatience;
  restart_at_.reset();
  if (!worker_) return finish(kExitOk);
  if (!send(worker_->channel(), {.type = Message::kStop})) worker_->kill(SIGKILL);
}

void Supervisor::end_worker_now(const char* why) {
  deadline_.reset();
  if (!worker_) return;
  log_error("serve.ended_by_force", {{"reason", why}, {"worker", worker_->pid()}});
  worker_->kill(SIGKILL);
  if (phase_ != Phase::kStopping) return;  // its end is noticed
  // It may hang on a disk even now; the mount must go all the same.
  finish(kExitFailure);
}

void Supervisor::worker_ended(const WorkerProcess::End& end) {
  drain_worker_messages();
  worker_.reset();
  deadline_.reset();
  if (phase_ == Phase::kStopping) return finish(end.exit_code == 0 ? kExitOk : kExitFailure);
  if (phase_ == Phase::kHandingOver) return finish_handover();
  if (end.exit_code == kExitUnmounted) {
    log_error("serve.unmounted",
              {{"mount", state_.directory}, {"reason", "somebody unmounted it"}});
    return finish(kExitFailure);
  }
  // The first one says what is wrong with the configuration or the machine; trying again does not
  // help.
  if (!was_ever_ready_ && end.exit_code > 0) return finish(end.exit_code);
  worker_failed(end);
}

bool Supervisor::gives_up(const WorkerProcess::End& end) {
  const bool was_killed = end.signal == SIGKILL || end.signal == SIGTERM || end.signal == SIGINT;
  if (is_ready_) kills_at_start_ = 0;
  if (is_ready_ && (was_killed || Clock::now() - worker_ready_ >= kSettled)) {
    failures_ = 0;
  } else if (was_killed) {
    ++kills_at_start_;
  } else {
    ++failures_;
  }
  return failures_ > kMostFailures || kills_at_start_ > kMostKills;
}

void Supervisor::worker_failed(const WorkerProcess::End& end) {
  const bool is_over = gives_up(end);
  // Every one counts; the supervisor itself bounds how many there are.
  log_event(LogLevel::kError, "serve.worker_died",
            {{"signal", end.signal},
             {"exit_code", end.exit_code},
             {"failures_in_a_row", failures_},
             {"kills_at_start", kills_at_start_},
             {"next", is_over ? "giving up" : "another is started"}});
  is_ready_ = false;
  if (is_over) {
    log_error("serve.gave_up",
              {{"mount", state_.directory},
               {"reason", "the worker fails as soon as it starts; the lines above say why"},
               {"consequence", "the mount is detached; merged and local data stay on the disks"}});
    return finish(kExitFailure);
  }
  if (!outlives_workers()) {
    mount_->detach();
    mount_->abort_connection();
    state_.connection.reset();
    mount_.reset();
    if (const Status made = make_mount(); !made) {
      log_error("serve.failed",
                {{"code", to_string(made.error().code)}, {"reason", made.error().message}});
      return finish(kExitFailure);
    }
  }
  plan_restart();
}

void Supervisor::plan_restart() {
  constexpr auto kLongest = std::chrono::milliseconds(5000);
  auto pause = std::chrono::milliseconds(0);
  if (failures_ > 1) pause = std::min(kLongest, std::chrono::milliseconds(50) * (1 << failures_));
  restart_at_ = Clock::now() + pause;
}

void Supervisor::on_control() {
  auto asked = control_->accept(settings_);
  if (!asked) {
    return log_warning("takeover.refused", {{"reason", asked.error().message}});
  }
  if (!asked->refused.empty()) return log_warning("takeover.refused", {{"reason", asked->refused}});
  log_info("takeover.begun", {{"worker", worker_->pid()}});
  successor_ = std::move(asked->channel);
  phase_ = Phase::kHandingOver;
  deadline_ = Clock::now() + kHandOverPatience;
  if (!send(worker_->channel(), {.type = Message::kHandOver})) worker_->kill(SIGKILL);
}

void Supervisor::finish_handover() {
  constexpr auto kTakePatience = std::chrono::seconds(5);
  phase_ = Phase::kServing;
  const Status sent = send_state(successor_.get(), state_);
  const auto answer = sent ? receive(successor_.get(), kTakePatience)
                           : Result<std::optional<ChannelMessage>>(sent.error());
  successor_.reset();
  if (!answer || !*answer || (*answer)->type != Message::kTaken) {
    log_error("takeover.failed",
              {{"reason", answer ? "the other process is gone" : answer.error().message},
               {"consequence", "this one goes on"}});
    return start_worker();
  }
  log_info("takeover.given", {{"mount", state_.directory}});
  mount_->leave();
  if (control_) control_->leave();
  if (!stays_) {
    exit_code_ = kExitOk;
    return;
  }
  // Nothing of the mount may stay open here: it would live on with this process.
  phase_ = Phase::kHandedOver;
  control_.reset();
  mount_.reset();
  state_ = MountState();
}

void Supervisor::finish(int exit_code) {
  if (mount_) {
    mount_->detach();
    if (worker_) mount_->abort_connection();
  }
  exit_code_ = exit_code;
  log_info("serve.stopped", {{"node", settings_.node.str()}});
}

}  // namespace shufflefs
