#include "fs/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <span>
#include <thread>

#include "base/log.h"
#include "base/mutex.h"
#include "fs/caller.h"
#include "fs/mount.h"
#include "fs/request.h"

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
bool negotiate(fuse_conn_info& connection, const SessionOptions& options, bool wants_passthrough) {
  const bool passthrough =
      wants_passthrough && fuse_set_feature_flag(&connection, FUSE_CAP_PASSTHROUGH);
  for (const uint64_t wanted :
       {uint64_t{FUSE_CAP_HANDLE_KILLPRIV_V2}, uint64_t{FUSE_CAP_PARALLEL_DIROPS},
        uint64_t{FUSE_CAP_READDIRPLUS}, uint64_t{FUSE_CAP_READDIRPLUS_AUTO},
        uint64_t{FUSE_CAP_SPLICE_WRITE}, uint64_t{FUSE_CAP_SPLICE_MOVE},
        uint64_t{FUSE_CAP_ASYNC_READ}, uint64_t{FUSE_CAP_ASYNC_DIO},
        uint64_t{FUSE_CAP_AUTO_INVAL_DATA}, uint64_t{FUSE_CAP_DIRECT_IO_ALLOW_MMAP},
        uint64_t{FUSE_CAP_NO_EXPORT_SUPPORT}, uint64_t{FUSE_CAP_CACHE_SYMLINKS},
        // Default ACLs override the umask, so we apply it ourselves; the kernel checks access ACLs.
        uint64_t{FUSE_CAP_DONT_MASK}, uint64_t{FUSE_CAP_POSIX_ACL}}) {
    if (!fuse_set_feature_flag(&connection, wanted)) {
      log_debug("mount.feature_missing", {{"flag", fmt::format("{:#x}", wanted)}});
    }
  }
  // Splicing requests in would hide their numbers (request.h), and only ordinary writes would gain.
  // Truncating within open comes before the kernel's check that the file is not being executed:
  // who opens a running program with O_TRUNC would get ETXTBSY and have emptied it all the same.
  for (const uint64_t unwanted :
       {uint64_t{FUSE_CAP_SPLICE_READ}, uint64_t{FUSE_CAP_HANDLE_KILLPRIV},
        uint64_t{FUSE_CAP_WRITEBACK_CACHE}, uint64_t{FUSE_CAP_EXPORT_SUPPORT},
        uint64_t{FUSE_CAP_ATOMIC_O_TRUNC}}) {
    fuse_unset_feature_flag(&connection, unwanted);
  }
  // It would throw away a file's pages at each change of its time, and so after each of our writes.
  if (!passthrough) fuse_unset_feature_flag(&connection, FUSE_CAP_AUTO_INVAL_DATA);
  if (!options.xattrs) fuse_unset_feature_flag(&connection, FUSE_CAP_POSIX_ACL);
  if (!options.io_uring) {
    fuse_unset_feature_flag(&connection, FUSE_CAP_OVER_IO_URING);
  } else if (!fuse_set_feature_flag(&connection, FUSE_CAP_OVER_IO_URING)) {
    log_warning("mount.io_uring_refused",
                {{"reason",
                  "the kernel does not offer it: 6.14 or later does, once it is switched on by "
                  "'echo 1 > /sys/module/fuse/parameters/enable_uring'"},
                 {"consequence", "requests by /dev/fuse"}});
  }
  connection.max_write = kMaxWriteBytes;
  connection.max_background = kMaxBackground;
  connection.congestion_threshold = kCongestionThreshold;
  connection.time_gran = 1;
  connection.no_interrupt = 1;
  // Backing files lie on plain file systems; the other choice would forbid overlayfs on top of our
  // mount.
  connection.max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER;
  return passthrough;
}

}  // namespace

struct Session::State {
  State(Mount of, Operations& with, SessionOptions session_options)
      : mount(std::move(of)), operations(with), options(std::move(session_options)) {}

  Mount mount;
  Operations& operations;
  SessionOptions options;
  fuse_session* session = nullptr;

  Mutex mu;
  CondVar changed;
  bool initialised GUARDED_BY(mu) = false;
  bool stopping GUARDED_BY(mu) = false;
  bool detached GUARDED_BY(mu) = false;
  bool ended GUARDED_BY(mu) = false;
  int result GUARDED_BY(mu) = 0;
  std::thread loop;
  std::thread unmounter;

  void set(bool State::* flag) {
    const MutexLock lock(mu);
    this->*flag = true;
    changed.notify_all();
  }
  [[nodiscard]] bool finished() const REQUIRES(mu) { return detached && ended; }
  void wait_until_finished(MutexLock& lock, std::chrono::steady_clock::time_point deadline)
      REQUIRES(mu) {
    while (!finished() && changed.wait_until(lock, deadline)) {
    }
  }
};

namespace {

void on_init(void* userdata, fuse_conn_info* connection) {
  static_cast<Operations*>(userdata)->on_init(*connection);
}

// struct fuse_out_header, in front of every answer and notice.
struct AnswerHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;  // 0: a notice
};

ssize_t write_answer(int fd, iovec* parts, int count, void* userdata) {
  Operations& operations = *static_cast<Operations*>(userdata);
  if (operations.silent) {
    ssize_t bytes = 0;
    for (const iovec& part : std::span(parts, static_cast<std::size_t>(count)))
      bytes += static_cast<ssize_t>(part.iov_len);
    return bytes;
  }
  const ssize_t written = ::writev(fd, parts, count);
  if (parts->iov_len >= sizeof(AnswerHeader)) {
    const auto* header = static_cast<const AnswerHeader*>(parts->iov_base);
    if (header->unique != 0) operations.times.end(header->unique, header->error);
  }
  return written;
}

ssize_t splice_answer(int from, off_t* from_at, int to, off_t* to_at, std::size_t size,
                      unsigned flags, void* userdata) {
  Operations& operations = *static_cast<Operations*>(userdata);
  if (operations.silent) return static_cast<ssize_t>(size);
  const ssize_t sent = ::splice(from, from_at, to, to_at, size, flags);
  // Only data of ordinary reads is spliced, on the thread that has read the request.
  operations.times.end(current_request().unique(), 0);
  return sent;
}

// A request is lost to its caller (EIO) if we are killed while the kernel makes room for a page of
// the buffer that it is copied to: so the pages are there before the first one is read. libfuse
// keeps a thread's buffer. As much as any request needs but a large ordinary write: 1 MiB for each
// thread would be half of the daemon's memory.
void populate_once(void* buffer, std::size_t size) {
  thread_local const void* populated = nullptr;
  if (buffer == populated) return;
  populated = buffer;
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kMaxPopulated = std::size_t{136} << 10U;
  const std::size_t before = reinterpret_cast<std::uintptr_t>(buffer) % kPage;
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14
  ::madvise(static_cast<char*>(buffer) - before, before + std::min(size, kMaxPopulated),
            kPopulateWrite);
}

ssize_t read_request(int fd, void* to, std::size_t size, void* userdata) {
  populate_once(to, size);
  const ssize_t got = ::read(fd, to, size);
  if (got >= static_cast<ssize_t>(sizeof(RequestHeader))) {
    const auto* header = static_cast<const RequestHeader*>(to);
    note_request(header->unique);
    static_cast<Operations*>(userdata)->times.begin(header->unique, header->opcode);
  }
  return got;
}

// Without clone_fd: requests that a cloned descriptor has read end with it, those of the
// supervisor's wait for the next worker.
constexpr fuse_custom_io kIo{.writev = write_answer,
                             .read = read_request,
                             .splice_receive = nullptr,
                             .splice_send = splice_answer,
                             .clone_fd = nullptr};

fuse_lowlevel_ops all_operations() {
  fuse_lowlevel_ops ops{};
  ops.init = on_init;
  register_name_ops(ops);
  register_file_ops(ops);
  register_attribute_ops(ops);
  return ops;
}

// As in <linux/fuse.h>, of which Debian 12 has an older version.
constexpr int32_t kNotifyResend = 7;

void ask_again(int fd) {
  const AnswerHeader notice{sizeof(AnswerHeader), kNotifyResend, 0};
  if (::write(fd, &notice, sizeof notice) == sizeof notice) return;
  log_error("mount.resend_failed",
            {{"errno", errno}, {"consequence", "calls that were under way wait for ever"}});
}

// The kernel takes the answer of the first worker and ignores those of the others.
void process_init(Session::State& state) {
  std::vector<std::byte>& message = state.options.init_message;
  fuse_buf buffer{};
  buffer.mem = message.data();
  buffer.size = message.size();
  fuse_session_process_buf(state.session, &buffer);
}

// The session thread: everything that libfuse starts inherits its signal mask and credentials.
void run_loop(const std::shared_ptr<Session::State>& state) {
  block_all_signals();
  prepare_fuse_thread();
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 0);
  fuse_loop_cfg_set_max_threads(config, state->options.max_threads);
  fuse_loop_cfg_set_idle_threads(config, state->options.max_idle_threads);
  const int result = fuse_session_loop_mt(state->session, config);
  fuse_loop_cfg_destroy(config);
  bool by_itself = false;
  {
    const MutexLock lock(state->mu);
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
  std::string with_rings = "-oio_uring";
  std::array<char*, 2> arguments{program.data(), with_rings.data()};
  fuse_args args = FUSE_ARGS_INIT(state->options.io_uring ? 2 : 1, arguments.data());
  const fuse_lowlevel_ops ops = all_operations();
  state->session = fuse_session_new(&args, &ops, sizeof ops, &operations);
  fuse_opt_free_args(&args);
  if (state->session == nullptr)
    return make_error(Code::kMount, "libfuse could not make a session");
  Fd connection = state->mount.take_connection();
  if (const int refused =
          fuse_session_custom_io(state->session, &kIo, sizeof kIo, connection.get());
      refused != 0) {
    fuse_session_destroy(state->session);
    return make_error(Code::kMount,
                      fmt::format("libfuse did not accept the connection to the kernel ({}); was "
                                  "it built without custom I/O? run scripts/setup",
                                  refused));
  }
  static_cast<void>(connection.release());  // fuse_session_destroy() closes it

  operations.on_init = [weak = std::weak_ptr(state)](fuse_conn_info& negotiated) {
    const std::shared_ptr<State> started = weak.lock();
    if (!started) return;
    const bool passthrough =
        negotiate(negotiated, started->options, started->operations.passthrough.wanted());
    started->operations.has_xattrs = started->options.xattrs;
    started->operations.native.set_stores_pass_by(passthrough);
    started->operations.passthrough.attach(fuse_session_fd(started->session), passthrough);
    log_info(
        "mount.ready",
        {{"mount", started->mount.directory()},
         {"kernel_protocol", fmt::format("{}.{}", negotiated.proto_major, negotiated.proto_minor)},
         {"passthrough", passthrough},
         {"killpriv_v2", (negotiated.want_ext & FUSE_CAP_HANDLE_KILLPRIV_V2) != 0},
         {"io_uring", (negotiated.want_ext & FUSE_CAP_OVER_IO_URING) != 0},
         {"threads", started->options.max_threads}});
    started->set(&State::initialised);
  };
  if (!state->options.init_message.empty()) {
    process_init(*state);
    operations.passthrough.close_unused();
  }
  state->loop = std::thread(run_loop, state);
  if (state->options.resend) ask_again(fuse_session_fd(state->session));

  std::unique_ptr<Session> session(new Session(state));
  MutexLock lock(state->mu);
  const auto deadline = std::chrono::steady_clock::now() + kInitTime;
  while (!state->initialised && !state->ended && state->changed.wait_until(lock, deadline)) {
  }
  if (state->initialised && !state->ended) return session;
  const int result = state->result;
  lock.unlock();
  return make_error(
      Code::kMount,
      fmt::format("the kernel did not accept the session at {} (result {}); is the kernel "
                  "5.4 or later?",
                  state->mount.directory(), result));
}

void Session::stop(std::chrono::milliseconds timeout) {
  if (std::exchange(stopped_, true)) return;
  const auto begin = std::chrono::steady_clock::now();
  const auto deadline = begin + timeout;
  const std::size_t open_files = state_->operations.handles.size();
  state_->set(&State::stopping);
  // Unmounting may have to write back pages through us, so the loop still runs; and it may hang
  // where a disk does.
  state_->unmounter = std::thread([state = state_] {
    block_all_signals();
    state->mount.detach();
    state->set(&State::detached);
  });
  MutexLock lock(state_->mu);
  while (!state_->detached && !state_->ended &&
         state_->changed.wait_until(lock, begin + timeout / 2)) {
  }
  fuse_session_exit(state_->session);
  state_->wait_until_finished(lock, deadline);
  const bool aborted = !state_->finished();
  if (aborted) {
    lock.unlock();
    state_->mount.abort_connection();
    lock.lock();
    state_->wait_until_finished(lock, std::chrono::steady_clock::now() + kAfterAbort);
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  log_info("mount.stopped", {{"mount", state_->mount.directory()},
                             {"open_files", open_files},
                             {"aborted", aborted},
                             {"took_ms", took.count()}});
}

void Session::hand_over(std::chrono::milliseconds timeout) {
  if (std::exchange(stopped_, true)) return;
  state_->set(&State::stopping);
  fuse_session_exit(state_->session);
  MutexLock lock(state_->mu);
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!state_->ended && state_->changed.wait_until(lock, deadline)) {
  }
  state_->operations.silent = true;
  state_->mount.leave();
  state_->detached = true;
  log_info("mount.handed_over", {{"mount", state_->mount.directory()},
                                 {"open_files", state_->operations.handles.size()},
                                 {"loop_ended", state_->ended}});
}

Session::~Session() {
  stop();
  bool finished = false;
  {
    const MutexLock lock(state_->mu);
    finished = state_->finished();
  }
  if (!finished) {
    // A thread hangs, on a disk most likely. Its state stays, and the process can still end.
    log_error("mount.thread_left_behind", {{"mount", state_->mount.directory()}});
    state_->loop.detach();
    if (state_->unmounter.joinable()) state_->unmounter.detach();
    static_cast<void>(new std::shared_ptr<State>(state_));
    return;
  }
  state_->loop.join();
  if (state_->unmounter.joinable()) state_->unmounter.join();
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
