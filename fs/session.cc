#include "fs/session.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <array>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "fs/caller.h"

namespace shufflefs::fs {
namespace {

constexpr unsigned kMaxWriteBytes = 1024 * 1024;
constexpr unsigned kMaxBackground =
    256;  // RELEASE is among them: too few, and closes lag behind opens
constexpr unsigned kCongestionThreshold = 192;
constexpr auto kInitTime = std::chrono::seconds(10);
constexpr auto kAfterAbort = std::chrono::seconds(2);

void block_all_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

void log_libfuse(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string_view line(text.data());
  while (line.ends_with('\n')) line.remove_suffix(1);
  log_limited(level <= FUSE_LOG_ERR ? LogLevel::kWarning : LogLevel::kDebug, "fuse.library",
              {{"text", line}});
}

// Returns whether passthrough was agreed on.
bool negotiate(fuse_conn_info& connection) {
  for (const uint64_t wanted :
       {uint64_t{FUSE_CAP_HANDLE_KILLPRIV_V2}, uint64_t{FUSE_CAP_PARALLEL_DIROPS},
        uint64_t{FUSE_CAP_READDIRPLUS}, uint64_t{FUSE_CAP_READDIRPLUS_AUTO},
        uint64_t{FUSE_CAP_SPLICE_READ}, uint64_t{FUSE_CAP_SPLICE_WRITE},
        uint64_t{FUSE_CAP_SPLICE_MOVE}, uint64_t{FUSE_CAP_ATOMIC_O_TRUNC},
        uint64_t{FUSE_CAP_ASYNC_READ}, uint64_t{FUSE_CAP_ASYNC_DIO},
        uint64_t{FUSE_CAP_AUTO_INVAL_DATA}, uint64_t{FUSE_CAP_DIRECT_IO_ALLOW_MMAP},
        uint64_t{FUSE_CAP_NO_EXPORT_SUPPORT}, uint64_t{FUSE_CAP_CACHE_SYMLINKS},
        // Default ACLs override the umask, so we apply it ourselves; the kernel checks access ACLs.
        uint64_t{FUSE_CAP_DONT_MASK}, uint64_t{FUSE_CAP_POSIX_ACL}}) {
    if (!fuse_set_feature_flag(&connection, wanted)) {
      log_debug("mount.feature_missing", {{"flag", fmt::format("{:#x}", wanted)}});
    }
  }
  for (const uint64_t unwanted :
       {uint64_t{FUSE_CAP_HANDLE_KILLPRIV}, uint64_t{FUSE_CAP_WRITEBACK_CACHE},
        uint64_t{FUSE_CAP_EXPORT_SUPPORT}, uint64_t{FUSE_CAP_OVER_IO_URING}}) {
    fuse_unset_feature_flag(&connection, unwanted);
  }
  connection.max_write = kMaxWriteBytes;
  connection.max_background = kMaxBackground;
  connection.congestion_threshold = kCongestionThreshold;
  connection.time_gran = 1;
  connection.no_interrupt = 1;
  // Backing files lie on plain file systems; the other choice would forbid overlayfs on top of our
  // mount.
  connection.max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER;
  return fuse_set_feature_flag(&connection, FUSE_CAP_PASSTHROUGH);
}

}  // namespace

struct Session::State {
  State(Mount of, Operations& with, SessionOptions session_options)
      : mount(std::move(of)), operations(with), options(std::move(session_options)) {}

  Mount mount;
  Operations& operations;
  const SessionOptions options;
  fuse_session* session = nullptr;

  std::mutex mu;
  std::condition_variable changed;
  bool initialised = false;  // GUARDED_BY(mu)
  bool stopping = false;     // GUARDED_BY(mu)
  bool detached = false;     // GUARDED_BY(mu)
  bool ended = false;        // GUARDED_BY(mu)
  int result = 0;            // GUARDED_BY(mu)
  std::thread loop;
  std::thread unmounter;

  void set(bool& flag) {
    const std::lock_guard lock(mu);
    flag = true;
    changed.notify_all();
  }
};

namespace {

void on_init(void* userdata, fuse_conn_info* connection) {
  static_cast<Operations*>(userdata)->on_init(*connection);
}

fuse_lowlevel_ops all_operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  register_lookup_ops(ops);
  register_attr_ops(ops);
  register_dir_ops(ops);
  register_open_ops(ops);
  register_io_ops(ops);
  register_make_ops(ops);
  register_rename_ops(ops);
  register_xattr_ops(ops);
  return ops;
}

// The session thread: everything that libfuse starts inherits its signal mask and credentials.
void run_loop(const std::shared_ptr<Session::State>& state) {
  block_all_signals();
  prepare_fuse_thread();
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, state->options.clone_fd ? 1 : 0);
  fuse_loop_cfg_set_max_threads(config, state->options.max_threads);
  fuse_loop_cfg_set_idle_threads(config, state->options.max_idle_threads);
  const int result = fuse_session_loop_mt(state->session, config);
  fuse_loop_cfg_destroy(config);
  bool by_itself = false;
  {
    const std::lock_guard lock(state->mu);
    state->result = result;
    state->ended = true;
    by_itself = !state->stopping && state->initialised;
    state->changed.notify_all();
  }
  if (!by_itself) return;
  log_warning("mount.ended", {{"mount", state->mount.directory()}, {"result", result}});
  if (state->options.on_ended) state->options.on_ended();
}

}  // namespace

Result<std::unique_ptr<Session>> Session::start(Mount mount, Operations& operations,
                                                SessionOptions options) {
  fuse_set_log_func(log_libfuse);
  auto state = std::make_shared<State>(std::move(mount), operations, std::move(options));
  std::string program = "shufflefs";
  std::array<char*, 1> arguments{program.data()};
  fuse_args args = FUSE_ARGS_INIT(1, arguments.data());
  const fuse_lowlevel_ops ops = all_operations();
  state->session = fuse_session_new(&args, &ops, sizeof ops, &operations);
  fuse_opt_free_args(&args);
  if (state->session == nullptr)
    return make_error(Code::kMount, "libfuse could not make a session");
  Fd connection = state->mount.take_connection();
  if (fuse_session_mount(state->session, fmt::format("/dev/fd/{}", connection.get()).c_str()) !=
      0) {
    fuse_session_destroy(state->session);
    return make_error(Code::kMount, "libfuse did not accept the connection to the kernel");
  }
  static_cast<void>(connection.release());  // fuse_session_destroy() closes it

  operations.on_init = [weak = std::weak_ptr(state)](fuse_conn_info& negotiated) {
    const std::shared_ptr<State> started = weak.lock();
    if (!started) return;
    const bool passthrough = negotiate(negotiated);
    started->operations.passthrough.attach(fuse_session_fd(started->session), passthrough);
    log_info(
        "mount.ready",
        {{"mount", started->mount.directory()},
         {"kernel_protocol", fmt::format("{}.{}", negotiated.proto_major, negotiated.proto_minor)},
         {"passthrough", passthrough},
         {"killpriv_v2", (negotiated.want_ext & FUSE_CAP_HANDLE_KILLPRIV_V2) != 0},
         {"threads", started->options.max_threads}});
    started->set(started->initialised);
  };
  state->loop = std::thread(run_loop, state);

  std::unique_ptr<Session> session(new Session(state));
  std::unique_lock lock(state->mu);
  state->changed.wait_for(lock, kInitTime, [&] { return state->initialised || state->ended; });
  if (state->initialised && !state->ended) return session;
  const int result = state->result;
  lock.unlock();
  return make_error(
      Code::kMount,
      fmt::format("the kernel did not accept the session at {} (result {}); is the kernel "
                  "5.4 or later?",
                  state->mount.directory(), result));
}

void Session::stop(std::chrono::milliseconds patience) {
  if (std::exchange(stopped_, true)) return;
  const auto begin = std::chrono::steady_clock::now();
  const auto deadline = begin + patience;
  const std::size_t open_files = state_->operations.handles.size();
  state_->set(state_->stopping);
  // Unmounting may have to write back pages through us, so the loop still runs; and it may hang
  // where a disk does.
  state_->unmounter = std::thread([state = state_] {
    block_all_signals();
    state->mount.detach();
    state->set(state->detached);
  });
  std::unique_lock lock(state_->mu);
  state_->changed.wait_until(lock, begin + patience / 2,
                             [this] { return state_->detached || state_->ended; });
  fuse_session_exit(state_->session);
  const auto finished = [this] { return state_->detached && state_->ended; };
  bool aborted = false;
  if (!state_->changed.wait_until(lock, deadline, finished)) {
    aborted = true;
    lock.unlock();
    state_->mount.abort_connection();
    lock.lock();
    state_->changed.wait_for(lock, kAfterAbort, finished);
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  log_info("mount.stopped", {{"mount", state_->mount.directory()},
                             {"open_files", open_files},
                             {"aborted", aborted},
                             {"took_ms", took.count()}});
}

Session::~Session() {
  stop();
  bool finished = false;
  {
    const std::lock_guard lock(state_->mu);
    finished = state_->detached && state_->ended;
  }
  if (!finished) {
    // A thread hangs, on a disk most likely. Its state stays, and the process can still end.
    log_error("mount.thread_left_behind", {{"mount", state_->mount.directory()}});
    state_->loop.detach();
    state_->unmounter.detach();
    static_cast<void>(new std::shared_ptr<State>(state_));
    return;
  }
  state_->loop.join();
  state_->unmounter.join();
  fuse_session_destroy(state_->session);
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t kWanted = 1024 * 1024;
  const rlim_t before = limit.rlim_cur;
  const rlimit high{kWanted, std::max(limit.rlim_max, kWanted)};
  if (limit.rlim_max >= kWanted || ::setrlimit(RLIMIT_NOFILE, &high) != 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ::getrlimit(RLIMIT_NOFILE, &limit);
  log_info("mount.file_limit", {{"before", before}, {"now", limit.rlim_cur}});
}

}  // namespace shufflefs::fs
