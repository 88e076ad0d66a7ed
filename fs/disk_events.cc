#include "fs/disk_events.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "fs/os_files.h"
#include "merge/map_output.h"

namespace shufflefs::fs {
namespace {

constexpr uint64_t kAppeared = FAN_MOVED_TO | FAN_CLOSE_WRITE;
constexpr uint64_t kRemoved = FAN_MOVED_FROM | FAN_DELETE;
// A hard link comes as FAN_CREATE; an extended attribute of a directory as FAN_ATTRIB of ".".
constexpr uint64_t kWanted = kAppeared | kRemoved | FAN_CREATE | FAN_ATTRIB | FAN_ONDIR;

Error refused(const std::string& directory, int error) {
  const char* why = "";
  if (error == EPERM) why = ": CAP_SYS_ADMIN in the first user namespace is missing";
  if (error == EINVAL) why = ": the kernel is older than 5.9";
  if (error == ENODEV || error == EXDEV || error == EOPNOTSUPP)
    why = ": this file system does not name its files in events";
  return errno_error("the kernel does not tell what happens on the disk of " + directory + why,
                     error);
}

// One event: what happened, in which directory, to which name.
struct Event {
  uint64_t mask = 0;
  std::optional<FileHandle> directory;
  std::string_view name;
};

template <class Record>
std::optional<Record> record_at(std::span<const std::byte> bytes, std::size_t at) {
  Record record{};
  if (at + sizeof record > bytes.size()) return std::nullopt;
  std::memcpy(&record, bytes.data() + at, sizeof record);
  return record;
}

// The first event of `bytes`, which are cut after it. Laid out as <linux/fanotify.h> says.
std::optional<Event> take_event(std::span<const std::byte>& bytes) {
  const auto head = record_at<fanotify_event_metadata>(bytes, 0);
  if (!head || head->event_len < sizeof *head || head->event_len > bytes.size())
    return std::nullopt;
  const auto whole = bytes.first(head->event_len);
  bytes = bytes.subspan(head->event_len);
  Event event{.mask = head->mask, .directory = {}, .name = {}};
  std::size_t at = head->metadata_len;
  while (const auto info = record_at<fanotify_event_info_header>(whole, at)) {
    if (info->len < sizeof *info || at + info->len > whole.size()) break;
    const std::size_t handle_at = at + offsetof(fanotify_event_info_fid, handle);
    const auto handle = record_at<file_handle>(whole, handle_at);
    const std::size_t end = at + info->len;
    if (info->info_type == FAN_EVENT_INFO_TYPE_DFID_NAME && handle &&
        handle->handle_bytes <= FileHandle::kMaxBytes) {
      const std::size_t bytes_at = handle_at + sizeof(file_handle);
      const std::size_t name_at = bytes_at + handle->handle_bytes;
      if (name_at < end) {
        FileHandle& directory = event.directory.emplace();
        directory.type = handle->handle_type;
        directory.length = handle->handle_bytes;
        std::memcpy(directory.bytes.data(), whole.data() + bytes_at, directory.length);
        const auto* const name = reinterpret_cast<const char*>(whole.data() + name_at);
        event.name = {name, ::strnlen(name, end - name_at)};
      }
    }
    at = end;
  }
  return event;
}

}  // namespace

// Of one file system.
class DiskEvents::Group {
 public:
  Group(Fd events, Fd root, dev_t device, Counter& count, Counter& overflows)
      : events_(std::move(events)),
        root_(std::move(root)),
        device_(device),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        count_(count),
        overflows_(overflows) {}
  ~Group() {
    if (!thread_.joinable()) return;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  [[nodiscard]] dev_t device() const { return device_; }
  // False if it was there.
  bool add(const std::string& directory) {
    const MutexLock lock(directories_mu_);
    return directories_.insert(directory + "/").second;
  }
  void deliver(merge::CommitSink& sink) {
    thread_ = std::thread([this, &sink] { run(sink); });
  }
  // What was read before this looks at the queue was read while busy_ was set.
  [[nodiscard]] bool is_unread() const {
    int queued = 0;
    return ::ioctl(events_.get(), FIONREAD, &queued) != 0 || queued > 0 || busy_.load();
  }

 private:
  void run(merge::CommitSink& sink) {
    while (true) {
      // Whatever is read next has happened after this: a drop that comes between is of it too.
      drops_ = sink.drops_heard();
      std::array<pollfd, 2> waits{pollfd{events_.get(), POLLIN, 0}, pollfd{stop_.get(), POLLIN, 0}};
      if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
      if (waits[1].revents != 0) return;
      busy_ = true;
      read_all(sink);
      busy_ = false;
    }
  }

  void read_all(merge::CommitSink& sink) {
    alignas(fanotify_event_metadata) std::array<std::byte, 64U << 10U> buffer;
    lost_ = false;
    unnamed_removals_ = false;
    while (true) {
      const ssize_t got = ::read(events_.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      auto bytes = std::span<const std::byte>(buffer).first(static_cast<std::size_t>(got));
      while (const auto event = take_event(bytes)) handle(*event, sink);
    }
    if (lost_) {
      overflows_.add();
      log_limited(LogLevel::kWarning, "local.events_lost",
                  {{"device", fmt::format("{}:{}", major(device_), minor(device_))},
                   {"consequence", "the files are scanned"}});
      sink.spark_events_lost(drops_);
    } else if (unnamed_removals_) {
      sink.spark_files_removed();
    }
  }

  void handle(const Event& event, merge::CommitSink& sink) {
    count_.add();
    if ((event.mask & FAN_Q_OVERFLOW) != 0) lost_ = true;
    if (!event.directory) return;
    if ((event.mask & FAN_ONDIR) != 0) {
      if ((event.mask & FAN_ATTRIB) != 0 && event.name == ".") named(*event.directory, sink);
      return;
    }
    if ((event.mask & ~uint64_t{FAN_ATTRIB}) == 0 || !merge::parse_spark_name(event.name)) return;
    const Fd directory = open_handle(root_.get(), *event.directory, O_PATH | O_DIRECTORY);
    const std::string path = directory ? path_of_descriptor(directory.get()) : std::string();
    if (path.empty()) {
      // The directory has gone, and with it its files.
      unnamed_removals_ = true;
      return;
    }
    if (!is_ours(path)) return;
    // Events of one file may have been put together: what counts is what is there now.
    std::string file = path + "/" + std::string(event.name);
    struct stat attr{};
    const bool is_there = ::lstat(file.c_str(), &attr) == 0;
    if ((event.mask & kRemoved) != 0 || !is_there) sink.spark_file_removed(file);
    const bool is_linked = (event.mask & FAN_CREATE) != 0 && attr.st_nlink > 1;
    if (is_there && ((event.mask & kAppeared) != 0 || is_linked))
      sink.spark_file_appeared(std::move(file), drops_);
  }

  void named(const FileHandle& handle, merge::CommitSink& sink) {
    const Fd directory = open_handle(root_.get(), handle, O_PATH | O_DIRECTORY);
    if (!directory) return;
    const std::string path = path_of_descriptor(directory.get());
    if (path.empty() || !is_ours(path)) return;
    if (::getxattr(path.c_str(), merge::kAppAttribute, nullptr, 0) > 0)
      sink.application_named(path);
  }

  [[nodiscard]] bool is_ours(const std::string& path) const {
    const MutexLock lock(directories_mu_);
    return std::ranges::any_of(directories_, [&](const std::string& directory) {
      return path.starts_with(directory) || path + "/" == directory;
    });
  }

  const Fd events_;
  const Fd root_;  // open on the file system
  const dev_t device_;
  const Fd stop_;
  Counter& count_;
  Counter& overflows_;
  mutable Mutex directories_mu_;
  std::set<std::string> directories_ GUARDED_BY(directories_mu_);  // each ends in a slash
  std::atomic<bool> busy_{false};
  // Of the thread alone.
  uint64_t drops_ = 0;
  bool lost_ = false;
  bool unnamed_removals_ = false;
  std::thread thread_;
};

DiskEvents::DiskEvents(Metrics& metrics)
    : events_(
          metrics.counter("shufflefs_local_events_total",
                          "Changes that the kernel has told of the disks (local-mode = bind).")),
      overflows_(metrics.counter("shufflefs_local_events_lost_total",
                                 "Times that events of a disk were lost and it was scanned.")) {}

DiskEvents::~DiskEvents() { stop(); }

Result<bool> DiskEvents::open(const std::string& directory) {
  const std::string parent = directory.substr(0, directory.rfind('/'));
  Fd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root && errno == ENOENT)
    root = Fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat attr{};
  if (!root || ::fstat(root.get(), &attr) != 0) return errno_error("cannot open " + directory);
  const MutexLock lock(mu_);
  if (stopped_) return make_error(Code::kCancelled, "nobody listens any more");
  const auto known = std::ranges::find_if(
      groups_, [&](const auto& group) { return group->device() == attr.st_dev; });
  if (known != groups_.end()) return (*known)->add(directory);
  if (handle_of(root.get()).length == 0) return refused(directory, EOPNOTSUPP);
  Fd events(::fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME,
                            O_RDONLY));
  if (!events) return refused(directory, errno);
  if (::fanotify_mark(events.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kWanted, root.get(),
                      nullptr) != 0)
    return refused(directory, errno);
  groups_.push_back(std::make_unique<Group>(std::move(events), std::move(root), attr.st_dev,
                                            events_, overflows_));
  groups_.back()->add(directory);
  if (sink_ != nullptr) groups_.back()->deliver(*sink_);
  return true;
}

void DiskEvents::deliver(merge::CommitSink& sink) {
  const MutexLock lock(mu_);
  sink_ = &sink;
  for (const auto& group : groups_) group->deliver(sink);
}

void DiskEvents::stop() {
  std::vector<std::unique_ptr<Group>> ended;
  const MutexLock lock(mu_);
  stopped_ = true;
  ended.swap(groups_);
}

bool DiskEvents::are_unread() const {
  const MutexLock lock(mu_);
  return std::ranges::any_of(groups_, [](const auto& group) { return group->is_unread(); });
}

}  // namespace shufflefs::fs
