#include "main/node_metrics.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/recent_events.h"
#include "main/version.h"

namespace shufflefs {

DiskSpaces::DiskSpaces(Runtime& runtime, FileIo& io, const std::vector<std::string>& paths)
    : runtime_(runtime), io_(io) {
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto disk = std::make_shared<Disk>();
    disk->space.name = fmt::format("disk{}", i);
    disk->space.path = paths[i];
    disk->space.reason = "it has not been asked yet";
    disks_.push_back(std::move(disk));
  }
}

void DiskSpaces::ask(const std::shared_ptr<Disk>& disk) {
  std::string path;
  {
    const MutexLock lock(disk->mu);
    if (disk->asking) return;
    path = disk->space.path;
    disk->asking = true;
    disk->asked_at = runtime_.now();
  }
  runtime_.post_blocking([disk, path = std::move(path), &io = io_] {
    const auto space = io.space(path);
    const MutexLock lock(disk->mu);
    disk->asking = false;
    disk->space.reason = space ? std::string() : space.error().message;
    if (!space) return;
    disk->space.total_bytes = space->total_bytes;
    disk->space.free_bytes = space->free_bytes;
  });
}

bool DiskSpaces::is_asking() const {
  return std::ranges::any_of(disks_, [](const std::shared_ptr<Disk>& disk) {
    const MutexLock lock(disk->mu);
    return disk->asking;
  });
}

Task<void> DiskSpaces::refresh() {
  constexpr auto kPatience = std::chrono::seconds(1);
  constexpr auto kLookTimeout = std::chrono::milliseconds(2);
  for (const auto& disk : disks_) ask(disk);
  const TimePoint deadline = runtime_.now() + kPatience;
  while (is_asking() && runtime_.now() < deadline) co_await sleep_for(runtime_, kLookTimeout);
}

std::vector<DataDisk> DiskSpaces::last() const {
  constexpr auto kLate = std::chrono::seconds(1);
  std::vector<DataDisk> spaces;
  for (const auto& disk : disks_) {
    const MutexLock lock(disk->mu);
    DataDisk space = disk->space;
    const auto waited = runtime_.now() - disk->asked_at;
    if (disk->asking && waited >= kLate) {
      space.reason = fmt::format("it has not answered for {} s",
                                 std::chrono::duration_cast<std::chrono::seconds>(waited).count());
    }
    spaces.push_back(std::move(space));
  }
  return spaces;
}

namespace {

using Samples = Metrics::Samples;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

double open_descriptors() {
  std::error_code error;
  std::filesystem::directory_iterator entries("/proc/self/fd", error);
  double count = 0;
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error))
    ++count;
  return count;
}

double most_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

// The names are those that every Prometheus client library uses.
void register_process(Metrics& metrics) {
  const auto start =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  metrics.gauge("process_start_time_seconds", "When the worker started, since 1970.",
                [start] { return start; });
  metrics.counter_from("process_cpu_seconds_total", "CPU time of the worker.", cpu_seconds);
  metrics.gauge("process_resident_memory_bytes", "Resident memory of the worker.",
                [] { return static_cast<double>(resident_bytes()); });
  metrics.gauge("process_open_fds", "Open descriptors of the worker.", open_descriptors);
  metrics.gauge("process_max_fds", "The worker's limit of descriptors.", most_descriptors);
  metrics.gauges("shufflefs_build_info", "1, with the version as a label.", "version",
                 [] { return Samples{{kVersion, 1.0}}; });
  metrics.counter_from("shufflefs_reactor_disk_waits_total",
                       "Waits of the reactor for a disk: our fault.",
                       [] { return static_cast<double>(reactor_disk_waits()); });
  metrics.counters_from(
      "shufflefs_log_events_total", "Events logged, without suppressed ones.", "level", [] {
        const auto counts = recent_events().counts();
        const auto sample = [&counts](LogLevel level) {
          const uint64_t count = counts.at(static_cast<std::size_t>(level));
          return std::pair(std::string(to_string(level)), static_cast<double>(count));
        };
        return Samples{sample(LogLevel::kInfo), sample(LogLevel::kWarning),
                       sample(LogLevel::kError)};
      });
}

void register_disks(Metrics& metrics, const DiskSpaces& disks) {
  const auto gauge = [&](const char* name, const char* help, auto value) {
    metrics.gauges(name, help, "disk", [&disks, value] {
      Samples samples;
      const std::vector<DataDisk> list = disks.last();
      samples.reserve(list.size());
      for (const DataDisk& disk : list) samples.emplace_back(disk.name, value(disk));
      return samples;
    });
  };
  gauge("shufflefs_disk_size_bytes", "Size of the data directory's file system.",
        [](const DataDisk& disk) { return static_cast<double>(disk.total_bytes); });
  gauge("shufflefs_disk_free_bytes", "Free bytes of the data directory's file system.",
        [](const DataDisk& disk) { return static_cast<double>(disk.free_bytes); });
  gauge("shufflefs_disk_answers", "1 if the disk answers within a second.",
        [](const DataDisk& disk) { return disk.reason.empty() ? 1.0 : 0.0; });
}

void register_peers(Metrics& metrics, merge::Cluster& cluster) {
  metrics.gauges("shufflefs_peers", "Other members.", "state", [&cluster] {
    double up = 0;
    double down = 0;
    for (const merge::PeerHealth& peer : cluster.health())
      if (!peer.self) ++(peer.up ? up : down);
    return Samples{{"down", down}, {"up", up}};
  });
  metrics.gauge("shufflefs_members", "Known members, this node included.",
                [&cluster] { return static_cast<double>(cluster.names().size()); });
  metrics.gauge("shufflefs_members_views_differ", "Members with another list of members.",
                [&cluster] { return static_cast<double>(cluster.differences().size()); });
  const auto gauge = [&](const char* name, const char* help, auto value) {
    metrics.gauges(name, help, "peer", [&cluster, value] {
      Samples samples;
      for (const merge::PeerHealth& peer : cluster.health()) {
        if (peer.self) continue;
        if (samples.size() == Labelled<Counter>::kMostSeries) break;
        samples.emplace_back(peer.name.str().empty() ? peer.address : peer.name.str(), value(peer));
      }
      return samples;
    });
  };
  gauge("shufflefs_peer_up", "1 if the peer answers heartbeats.",
        [](const merge::PeerHealth& peer) { return peer.up ? 1.0 : 0.0; });
  gauge("shufflefs_peer_round_trip_seconds", "Round trip of the last heartbeat.",
        [](const merge::PeerHealth& peer) { return peer.round_trip_ms / 1e3; });
}

}  // namespace

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void register_node_metrics(Metrics& metrics, const NodeMetricsSources& sources) {
  register_process(metrics);
  register_disks(metrics, sources.disks);
  register_peers(metrics, sources.cluster);
  metrics.gauge("shufflefs_memory_used_bytes", "Leased bytes of the memory budget.",
                [&memory = sources.memory] { return static_cast<double>(memory.used_bytes()); });
  sources.memory.show(metrics);
  metrics.gauge("shufflefs_memory_budget_bytes", "The memory budget.",
                [&memory = sources.memory] { return static_cast<double>(memory.total_bytes()); });
  metrics.counter_from("shufflefs_workers_started_total", "Workers that have served this mount.",
                       [workers = sources.workers] { return static_cast<double>(workers); });
  metrics.gauge("shufflefs_mount_answers", "1 if the mount answers a stat and a read within 2 s.",
                [&probe = sources.probe] { return probe.last_was_good() ? 1.0 : 0.0; });
  metrics.gauge("shufflefs_shuffles", "Shuffles known to this node.", [&engine = sources.engine] {
    return static_cast<double>(engine.known_shuffles().size());
  });
}

}  // namespace shufflefs
