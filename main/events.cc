#include "main/events.h"

#include <fmt/format.h>

#include <array>

namespace shufflefs {
namespace {

constexpr LogLevel kDebug = LogLevel::kDebug;
constexpr LogLevel kInfo = LogLevel::kInfo;
constexpr LogLevel kWarning = LogLevel::kWarning;
constexpr LogLevel kError = LogLevel::kError;

const std::array kEvents = {
    EventInfo{"announce.retry", kDebug, "Telling a node about map outputs failed; it is retried."},
    EventInfo{"announce.unreadable", kWarning, "The block sizes of a map output cannot be read."},
    EventInfo{"app.over_quota", kWarning, "An application is above app-quota: its new files fail."},
    EventInfo{"app.two_owners", kWarning, "Two users have map outputs in one application."},
    EventInfo{"application.ended", kInfo,
              "No life for app-ttl: an application's directories go into the trash."},
    EventInfo{"application.not_removed", kWarning,
              "A directory of an ended application could not be removed."},
    EventInfo{"commit.bad_application", kWarning,
              "A directory's attribute user.shufflefs.app is no application id."},
    EventInfo{"commit.disk_unreadable", kWarning, "A data disk could not be searched."},
    EventInfo{"commit.path_unknown", kWarning, "A renamed file under local/ was not found."},
    EventInfo{"commit.refused", kWarning,
              "A map output was refused: inconsistent, or badly named."},
    EventInfo{"config.data_not_made", kError, "A data directory could not be made."},
    EventInfo{"disk.failed", kError, "I/O error: nothing more is merged onto this data disk."},
    EventInfo{"disk.recovered", kInfo, "A failed data disk works again."},
    EventInfo{"disk.tail_lost", kError, "The last bytes of a merged file could not be written."},
    EventInfo{"executor.forgotten", kInfo, "All directories of a registered executor are gone."},
    EventInfo{"executor.not_removed", kWarning, "A file that Spark removed is still there."},
    EventInfo{"executor.process_found", kDebug, "The process of a registered executor was found."},
    EventInfo{"executor.registered", kInfo, "A Spark executor registered its directories."},
    EventInfo{"executor.replaced", kInfo,
              "An executor registered other directories: its former map outputs are over."},
    EventInfo{"executor.temporaries_removed", kInfo,
              "A dead executor's temporary files were removed."},
    EventInfo{"executors.left_out", kWarning,
              "A saved registration names directories that are no longer allowed."},
    EventInfo{"executors.not_written", kError,
              "A registration's file could not be written or removed."},
    EventInfo{"executors.search_cut", kWarning,
              "The search for executors' processes met a limit: those not found count as alive."},
    EventInfo{"executors.unreadable", kError,
              "An executor's file was damaged: it must register again."},
    EventInfo{"fuse.library", kWarning, "libfuse complained."},
    EventInfo{"http.accept_failed", kWarning, "An HTTP connection could not be accepted."},
    EventInfo{"http.handler_failed", kError, "An HTTP request failed by our fault."},
    EventInfo{"http.handler_slow", kWarning, "An HTTP request was not answered in time."},
    EventInfo{"http.too_many_connections", kWarning, "Too many HTTP connections: one was closed."},
    EventInfo{"internal.exception", kError, "A task ended by an exception: our fault."},
    EventInfo{
        "local.bind_refused", kWarning,
        "The kernel does not tell what happens on a disk: its local/ goes through the mount."},
    EventInfo{"local.events_lost", kWarning,
              "More happened on a disk than the kernel could queue: it is scanned. Raise "
              "fs.fanotify.max_queued_events."},
    EventInfo{"local.mode", kInfo, "How programs reach local/, and why."},
    EventInfo{"local.not_bound", kWarning,
              "A disk's directory could not be laid over the mount; tried again."},
    EventInfo{"lock.not_noted", kWarning, "The process id could not be written into a lock."},
    EventInfo{"log.level", kInfo, "'shufflefs log-level' changed the level."},
    EventInfo{"log.suppressed", kWarning, "More than ten events of one code in ten seconds."},
    EventInfo{"map.committed", kDebug, "A map output was committed."},
    EventInfo{"map.found", kInfo, "A lost map output's files are back, unchanged."},
    EventInfo{"map.lost", kError, "A map output's files are gone, cut or changed."},
    EventInfo{"membership.address_moved", kInfo, "A node has another address."},
    EventInfo{"membership.forgotten", kInfo, "A node that is down was forgotten on request."},
    EventInfo{"membership.incarnation", kInfo, "A node was seen for the first time, or restarted."},
    EventInfo{"membership.joined", kInfo, "A node joined."},
    EventInfo{"membership.leaving", kInfo, "This node was drained and stops: it leaves for good."},
    EventInfo{"membership.left", kInfo, "A node left."},
    EventInfo{"membership.listed", kInfo, "DNS lists a new address."},
    EventInfo{"membership.lookup_failed", kWarning,
              "The DNS lookup of the members failed; the last answer counts."},
    EventInfo{"membership.lookup_ok", kInfo, "The DNS lookup works again."},
    EventInfo{"membership.lost", kInfo, "A node left: not in DNS, down for member-ttl."},
    EventInfo{"membership.name_taken", kError, "Two nodes have the same name."},
    EventInfo{"membership.not_read", kWarning, "The saved list of members cannot be read."},
    EventInfo{"membership.not_taken", kWarning,
              "Another node names a member that this node does not accept."},
    EventInfo{"membership.not_written", kWarning,
              "The list of members could not be written; it is retried."},
    EventInfo{"membership.returned", kWarning, "The others thought that this node had left."},
    EventInfo{"membership.unlisted", kInfo, "DNS no longer lists an address."},
    EventInfo{"membership.views_agree", kInfo, "A node's list of members equals ours again."},
    EventInfo{"membership.views_differ", kWarning,
              "A node's list of members has differed for seconds."},
    EventInfo{"merge.evicted", kWarning,
              "A nearly full disk: a shuffle's merged data was removed."},
    EventInfo{"merge.foreign_name", kWarning, "A file below <data>/merged is not ours."},
    EventInfo{"merge.index_cut", kWarning,
              "The end of a merged partition had wrong checksums and was cut off."},
    EventInfo{"merge.index_unreadable", kWarning,
              "A merged partition's index is damaged and was put aside."},
    EventInfo{"merge.not_dropped", kWarning,
              "A dropped shuffle's merged data could not be removed; it is retried."},
    EventInfo{"merge.not_forgotten", kWarning,
              "A removed map output could not be taken out of a merged partition."},
    EventInfo{"merge.refused", kWarning, "A pushed chunk was refused."},
    EventInfo{"merge.unreadable", kWarning, "A merged partition cannot be read."},
    EventInfo{"mount.abort_failed", kError,
              "The kernel's connection could not be aborted at the stop."},
    EventInfo{"mount.detach_failed", kError, "The mount could not be unmounted."},
    EventInfo{"mount.ended", kWarning, "Somebody unmounted or aborted the mount."},
    EventInfo{"mount.feature_missing", kDebug, "The kernel lacks a FUSE feature."},
    EventInfo{"mount.file_limit", kInfo, "The limit of open files was raised."},
    EventInfo{"mount.handed_over", kInfo, "This worker gave the mount to another."},
    EventInfo{"mount.io_uring_refused", kWarning,
              "fuse-io-uring is not available; /dev/fuse is used."},
    EventInfo{"mount.names_kept", kWarning, "The mount may list removed files for another minute."},
    EventInfo{"mount.not_kept", kWarning, "Open files or the mount will not survive the worker."},
    EventInfo{"mount.open_file_lost", kError, "A new worker could not reopen a file."},
    EventInfo{"mount.open_partition_lost", kError, "A new worker could not reopen a partition."},
    EventInfo{"mount.ready", kInfo, "The mount answers; the line lists the kernel's features."},
    EventInfo{"mount.resend_failed", kError, "The kernel did not resend a dead worker's requests."},
    EventInfo{"mount.saved_record_lost", kError, "A new worker could not read saved records."},
    EventInfo{"mount.snapshot_not_kept", kWarning,
              "An open partition could not be saved for the next worker."},
    EventInfo{"mount.stale_detached", kWarning, "A dead mount at our path was detached."},
    EventInfo{"mount.stopped", kInfo, "The mount ended as asked."},
    EventInfo{"mount.taken_over", kInfo, "This worker took over the mount."},
    EventInfo{"mount.thread_left_behind", kError, "A thread of the mount hangs on a disk."},
    EventInfo{"namespace.bad_name", kWarning, "A directory under shuffles/ has an invalid name."},
    EventInfo{"namespace.drop_incomplete", kWarning,
              "A drop did not reach every node; the others are told later."},
    EventInfo{"namespace.mkdir_failed", kWarning,
              "A directory under shuffles/ could not be made on disk."},
    EventInfo{"node.draining", kInfo, "The node is being drained."},
    EventInfo{"node.not_draining", kInfo, "The drain ended."},
    EventInfo{"partition.incomplete", kWarning, "A read failed: no node that answers has a block."},
    EventInfo{"partition.read_failed", kWarning,
              "A read failed: neither copy of a block is readable."},
    EventInfo{"passthrough.refused", kWarning,
              "The kernel refuses passthrough: slower. Logged once for each reason."},
    EventInfo{"passthrough.state_disagrees", kError,
              "After a worker's death a backing id was wrong: our fault."},
    EventInfo{"peer.accept_failed", kWarning, "A node's connection could not be accepted."},
    EventInfo{"peer.auth_not_reloaded", kWarning,
              "A changed secret or certificate cannot be read: the former one counts."},
    EventInfo{"peer.auth_reloaded", kInfo, "A changed secret or certificate is in use."},
    EventInfo{"peer.connection_lost", kDebug, "A node closed its connection."},
    EventInfo{"peer.down", kWarning, "A node does not answer; its blocks are read elsewhere."},
    EventInfo{"peer.insecure", kWarning, "Whoever reaches the peer port counts as a node."},
    EventInfo{"peer.protocol_error", kWarning,
              "A connection carried bytes that are not our protocol."},
    EventInfo{"peer.refused", kWarning,
              "A caller was refused for its secret, certificate or name."},
    EventInfo{"peer.stalled", kWarning, "A node stopped in the middle of a message."},
    EventInfo{"peer.this_machine_only", kInfo,
              "The peer port is local, without secret, certificate or insecure."},
    EventInfo{"peer.too_many_connections", kWarning, "Too many peer connections: one was closed."},
    EventInfo{"peer.up", kInfo, "A node answers again."},
    EventInfo{"push.gave_up", kWarning,
              "Blocks will not be merged: their owner did not take them."},
    EventInfo{"push.left_alone", kWarning, "An owner failed several times: pushes to it pause."},
    EventInfo{"push.unreadable", kWarning, "A map output cannot be read, so it is not pushed."},
    EventInfo{"reactor.disk_wait", kError, "The reactor waited for a disk: our fault."},
    EventInfo{"read.fallback", kWarning,
              "A merged block was damaged, short or gone, and read from its origin."},
    EventInfo{"serve.ended_by_force", kError, "A stop took too long: the worker was killed."},
    EventInfo{"serve.failed", kError, "The node could not start."},
    EventInfo{"serve.gave_up", kError, "The worker failed again and again: the node ended."},
    EventInfo{"serve.log_level_not_kept", kWarning,
              "The new log level holds for this worker only."},
    EventInfo{"serve.no_worker", kError, "The worker process could not be started."},
    EventInfo{"serve.not_notified", kWarning, "systemd could not be told the node's state."},
    EventInfo{"serve.privileges_kept", kWarning,
              "The daemon could not give up unneeded privileges."},
    EventInfo{"serve.ready", kInfo, "The node serves."},
    EventInfo{"serve.starting", kInfo, "The node starts."},
    EventInfo{"serve.stopped", kInfo, "The node ended."},
    EventInfo{"serve.stopping", kInfo, "The node was asked to stop."},
    EventInfo{"serve.unmounted", kError, "Somebody unmounted the mount: the node ended."},
    EventInfo{"serve.worker_died", kError, "The worker died; another is started."},
    EventInfo{"serve.worker_replaced", kInfo, "A new worker serves the mount."},
    EventInfo{"shuffle.dropped", kInfo, "A shuffle or an application was dropped."},
    EventInfo{"shuffle.ended", kInfo,
              "A shuffle's last map output was removed, and its merged partitions too."},
    EventInfo{"spark.accept_failed", kWarning, "A Spark connection could not be accepted."},
    EventInfo{"spark.block_failed", kWarning,
              "A block could not be sent. Spark runs the map again."},
    EventInfo{"spark.connection_closed", kWarning,
              "A Spark client met a limit, or sent invalid bytes."},
    EventInfo{"spark.connection_lost", kDebug, "A Spark client closed its connection."},
    EventInfo{"spark.connection_stalled", kWarning, "A Spark client stopped receiving or sending."},
    EventInfo{"spark.corruption_reported", kWarning,
              "Spark found a damaged block and asked for the cause."},
    EventInfo{"spark.read_failed", kWarning, "The disk failed within a block: Spark retries."},
    EventInfo{"spark.request_failed", kWarning, "A Spark request was refused."},
    EventInfo{"spark.started", kInfo, "The shuffle service listens."},
    EventInfo{"spark.too_many_connections", kWarning,
              "Too many Spark connections: one was closed."},
    EventInfo{"table.bad_records", kWarning,
              "The table's log has unknown records; they are skipped."},
    EventInfo{"table.cut", kWarning, "A shuffle's log ends in a torn record."},
    EventInfo{"table.not_written", kError,
              "An event could not be written to the table's log; it is retried."},
    EventInfo{"takeover.begun", kInfo, "Another process asks for the mount."},
    EventInfo{"takeover.done", kInfo, "This process took over the mount."},
    EventInfo{"takeover.failed", kError, "The mount could not be taken over or given away."},
    EventInfo{"takeover.given", kInfo, "Another process has the mount now."},
    EventInfo{"takeover.refused", kWarning, "A takeover is not possible."},
    EventInfo{"takeover.unavailable", kWarning, "The takeover socket could not be made."},
    EventInfo{"trash.not_removed", kWarning, "Dropped data could not be deleted."},
};

constexpr std::string_view kHead = R"(# Events

<!-- Generated by `shufflefs generate-docs .` from main/events.cc; a test compares them. -->

The log has one line for each event: time in UTC, level, a stable code, key=value pairs. [`log-level`](configuration.md#log-level) selects
what is logged. Of each code at most ten warnings or errors pass in ten seconds; the next one counts the others (`suppressed=N`).

    2026-11-21T06:30:04.787Z info serve.worker_replaced pid=8349 took_ms=18

With `--log-format json` all values are text:

    {"time":"2026-11-21T06:30:04.787Z","level":"info","event":"serve.worker_replaced","pid":"8349","took_ms":"18"}

The cure for each warning and error is in [troubleshooting.md](troubleshooting.md). Blocks that are not merged are read from their origins.
)";

}  // namespace

std::span<const EventInfo> events() { return kEvents; }

std::string events_page() {
  std::string page(kHead);
  for (const LogLevel level : {kError, kWarning, kInfo, kDebug}) {
    page += fmt::format("\n## Level {}\n\n", to_string(level));
    for (const EventInfo& event : kEvents) {
      if (event.level == level) page += fmt::format("- `{}`: {}\n", event.code, event.meaning);
    }
  }
  return page;
}

}  // namespace shufflefs
