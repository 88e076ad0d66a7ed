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
    EventInfo{"announce.retry", kDebug,
              "A node could not be told of map outputs; it is told again."},
    EventInfo{"announce.unreadable", kWarning, "The block sizes of a map output cannot be read."},
    EventInfo{"app.over_quota", kWarning,
              "An application is above app-quota: it can make no new file."},
    EventInfo{"app.two_owners", kWarning,
              "Two users have map outputs in one application: its merged data is for root only."},
    EventInfo{
        "application.ended", kInfo,
        "An application showed no sign of life for app-ttl: its directories go into the trash."},
    EventInfo{"application.not_removed", kWarning,
              "A directory of an ended application could not be moved into the trash."},
    EventInfo{"commit.bad_application", kWarning,
              "The attribute user.shufflefs.app of a directory is no application id."},
    EventInfo{"commit.disk_unreadable", kWarning,
              "A data disk could not be searched for map outputs."},
    EventInfo{"commit.path_unknown", kWarning,
              "A renamed file under local/ could not be found by its path."},
    EventInfo{
        "commit.refused", kWarning,
        "A map output is not accepted: its index and data disagree, or a name in it is wrong."},
    EventInfo{"config.data_not_made", kError, "A data directory could not be made."},
    EventInfo{"disk.failed", kError,
              "A data disk has an I/O error: nothing more is merged onto it."},
    EventInfo{"disk.recovered", kInfo, "A failed data disk can be written and read again."},
    EventInfo{"disk.tail_lost", kError,
              "The last bytes of a merged file could not be written: those blocks are read from "
              "their origins."},
    EventInfo{"executor.forgotten", kInfo, "All directories of a registered executor are gone."},
    EventInfo{"executor.not_removed", kWarning,
              "A file that Spark asked to remove could not be moved into the trash."},
    EventInfo{"executor.process_found", kDebug,
              "The process of a registered executor was found: its end will be seen."},
    EventInfo{"executor.registered", kInfo, "An executor of Spark has registered its directories."},
    EventInfo{"executor.replaced", kInfo,
              "An executor has registered again with other directories: its map outputs in the "
              "former ones are over."},
    EventInfo{"executor.temporaries_removed", kInfo,
              "The temporary files of a dead executor were removed."},
    EventInfo{"executors.left_out", kWarning,
              "A registration that was kept names directories that are not allowed now."},
    EventInfo{"executors.not_written", kError,
              "The file of a registration could not be written or removed; it holds until the next "
              "restart."},
    EventInfo{"executors.search_cut", kWarning,
              "The search for executors' processes met a limit: executors whose process was not "
              "found are assumed to be alive."},
    EventInfo{
        "executors.unreadable", kError,
        "The file of an executor is damaged and was removed: the executor is unknown until it "
        "registers again."},
    EventInfo{"fuse.library", kWarning, "A complaint of libfuse."},
    EventInfo{"http.accept_failed", kWarning,
              "A connection to the HTTP port could not be accepted."},
    EventInfo{"http.handler_failed", kError,
              "A request to the HTTP port failed by a fault of ours."},
    EventInfo{"http.handler_slow", kWarning,
              "A request to the HTTP port was not answered in time."},
    EventInfo{"http.too_many_connections", kWarning,
              "A connection to the HTTP port was closed: there are too many."},
    EventInfo{"internal.exception", kError, "A task ended by an exception: a fault of ours."},
    EventInfo{
        "lock.not_noted", kWarning,
        "The process id could not be written into the lock of a data directory; the lock holds."},
    EventInfo{"log.level", kInfo, "The log level was changed by 'shufflefs log-level'."},
    EventInfo{"log.suppressed", kWarning,
              "Events of one code were not logged: more than ten came within ten seconds."},
    EventInfo{"map.committed", kDebug, "A map output was recognised and accepted."},
    EventInfo{"map.found", kInfo,
              "The files of a lost map output are back, as they were committed."},
    EventInfo{"map.lost", kError,
              "The files of a map output are gone, cut or changed, and nobody removed it: only its "
              "merged blocks can be read."},
    EventInfo{"membership.address_moved", kInfo, "A node was found at another address."},
    EventInfo{"membership.forgotten", kInfo, "Somebody has had a node that is down forgotten."},
    EventInfo{"membership.incarnation", kInfo, "A node was seen for the first time, or restarted."},
    EventInfo{"membership.joined", kInfo, "A node is a member from now on."},
    EventInfo{"membership.leaving", kInfo,
              "This node has been drained and stops: it leaves for good."},
    EventInfo{"membership.left", kInfo, "A node is no member any more."},
    EventInfo{"membership.listed", kInfo, "DNS lists a new address."},
    EventInfo{"membership.lookup_failed", kWarning,
              "The members could not be looked up in DNS; the last answer counts."},
    EventInfo{"membership.lookup_ok", kInfo, "The members can be looked up again."},
    EventInfo{"membership.lost", kInfo,
              "DNS does not list a node any more, and it has been down for member-ttl."},
    EventInfo{"membership.name_taken", kError, "Two nodes have the same name."},
    EventInfo{"membership.not_read", kWarning,
              "The saved list of members cannot be read; the others tell it."},
    EventInfo{"membership.not_taken", kWarning,
              "Another node tells of a member that this node does not accept."},
    EventInfo{"membership.not_written", kWarning,
              "The list of members could not be written; it is tried again."},
    EventInfo{"membership.returned", kWarning,
              "The others took this node for gone for good; they are told that it is there."},
    EventInfo{"membership.unlisted", kInfo, "DNS does not list an address any more."},
    EventInfo{"membership.views_agree", kInfo,
              "A node's list of members is the same as ours again."},
    EventInfo{"membership.views_differ", kWarning,
              "A node's list of members has differed from ours for some seconds."},
    EventInfo{"merge.evicted", kWarning,
              "A disk is running full: a shuffle's merged data was removed from it."},
    EventInfo{"merge.foreign_name", kWarning,
              "Something below <data>/merged has no name of ours; it is left alone."},
    EventInfo{"merge.index_cut", kWarning,
              "The end of a merged partition did not match its checksums, as after a power "
              "failure: those blocks are read from their origins."},
    EventInfo{"merge.index_unreadable", kWarning,
              "The index of a merged partition is damaged and was put aside: its blocks are read "
              "from their origins."},
    EventInfo{"merge.not_dropped", kWarning,
              "Merged data of a dropped shuffle could not be moved into the trash: it is not read, "
              "and moved later."},
    EventInfo{"merge.not_forgotten", kWarning,
              "A removed map output could not be taken out of a merged partition's index."},
    EventInfo{"merge.refused", kWarning, "A pushed chunk was not merged here."},
    EventInfo{"merge.unreadable", kWarning,
              "A merged partition cannot be read: its blocks are read from their origins."},
    EventInfo{"mount.abort_failed", kError,
              "The kernel's connection could not be aborted at the stop."},
    EventInfo{"mount.detach_failed", kError, "The mount could not be unmounted."},
    EventInfo{"mount.ended", kWarning, "Somebody unmounted or aborted the mount."},
    EventInfo{"mount.feature_missing", kDebug, "The kernel does not offer a feature of FUSE."},
    EventInfo{"mount.file_limit", kInfo, "The limit of open files was raised."},
    EventInfo{"mount.handed_over", kInfo, "This worker has left the mount to another."},
    EventInfo{"mount.io_uring_refused", kWarning,
              "fuse-io-uring is not available; /dev/fuse is used."},
    EventInfo{"mount.names_kept", kWarning, "The mount may list removed files for another minute."},
    EventInfo{"mount.not_kept", kWarning,
              "If the worker dies now, open files or the mount do not outlive it."},
    EventInfo{"mount.open_file_lost", kError,
              "After a worker's death an open file could not be opened again."},
    EventInfo{"mount.open_partition_lost", kError,
              "After a worker's death an open partition could not be opened again."},
    EventInfo{"mount.ready", kInfo, "The mount answers; with what the kernel offers."},
    EventInfo{"mount.resend_failed", kError,
              "The kernel could not be asked to send again what a dead worker had left."},
    EventInfo{"mount.saved_record_lost", kError,
              "After a worker's death saved records of the mount could not be read."},
    EventInfo{"mount.snapshot_not_kept", kWarning,
              "An open partition could not be saved against the worker's death."},
    EventInfo{"mount.stale_detached", kWarning, "A dead mount was found at our path and detached."},
    EventInfo{"mount.stopped", kInfo, "The mount has ended as asked."},
    EventInfo{"mount.taken_over", kInfo, "This worker goes on with the mount of the one before."},
    EventInfo{"mount.thread_left_behind", kError,
              "A thread of the mount did not end: it hangs on a disk."},
    EventInfo{"namespace.bad_name", kWarning,
              "Somebody made a directory under shuffles/ whose name is no application or shuffle."},
    EventInfo{"namespace.drop_incomplete", kWarning,
              "An rm -r of a shuffle did not reach every node; the others hear of it later."},
    EventInfo{"namespace.mkdir_failed", kWarning,
              "A directory under shuffles/ could not be made on the disk."},
    EventInfo{"node.draining", kInfo,
              "The node takes no more pushes, and brings what exists only on it to others."},
    EventInfo{"node.not_draining", kInfo, "The node is not being drained any more."},
    EventInfo{"partition.incomplete", kWarning,
              "A reader got an I/O error: a block is on no node that answers."},
    EventInfo{"partition.read_failed", kWarning,
              "A reader got an I/O error: neither copy of a block could be read."},
    EventInfo{"passthrough.refused", kWarning,
              "The kernel does not pass files through to the disk: the daemon serves them, slower. "
              "Once for each reason."},
    EventInfo{"passthrough.state_disagrees", kError,
              "After a worker's death a file was open by another backing id than was saved: a "
              "fault of ours."},
    EventInfo{"peer.accept_failed", kWarning,
              "A connection of another node could not be accepted."},
    EventInfo{"peer.auth_not_reloaded", kWarning,
              "A changed secret or certificate cannot be read: the former one stays in use."},
    EventInfo{"peer.auth_reloaded", kInfo, "A changed secret or certificate is used from now on."},
    EventInfo{"peer.connection_lost", kDebug, "Another node has closed its connection."},
    EventInfo{"peer.down", kWarning,
              "Another node does not answer; its blocks are read from elsewhere."},
    EventInfo{"peer.insecure", kWarning, "Whoever reaches the peer port is taken for a node."},
    EventInfo{"peer.protocol_error", kWarning, "What came over a connection is not our protocol."},
    EventInfo{"peer.refused", kWarning,
              "Somebody connected who is no node of this cluster, by secret, certificate or name."},
    EventInfo{"peer.stalled", kWarning, "Another node stopped in the middle of a message."},
    EventInfo{
        "peer.this_machine_only", kInfo,
        "The peer port is for this machine only: no secret, certificate or insecure is given."},
    EventInfo{"peer.too_many_connections", kWarning,
              "A connection to the peer port was closed: there are too many."},
    EventInfo{"peer.up", kInfo, "Another node answers again."},
    EventInfo{"push.gave_up", kWarning,
              "Blocks will not be merged: their owner did not take them. They are read from their "
              "origin."},
    EventInfo{"push.left_alone", kWarning,
              "An owner has failed several times in a row: pushes to it pause."},
    EventInfo{"push.unreadable", kWarning,
              "A map output cannot be read from its own disk, so it is not pushed."},
    EventInfo{"reactor.disk_wait", kError,
              "The reactor thread has waited for a disk: a fault of ours."},
    EventInfo{"read.fallback", kWarning,
              "A merged block was damaged, short or gone, and was read from its origin."},
    EventInfo{"serve.ended_by_force", kError, "A stop took too long, and the worker was killed."},
    EventInfo{"serve.failed", kError, "The node could not start."},
    EventInfo{"serve.gave_up", kError,
              "The worker failed again and again: the mount was detached and the node has ended."},
    EventInfo{"serve.log_level_not_kept", kWarning,
              "The log level was changed for this worker, but not for the next one."},
    EventInfo{"serve.no_worker", kError, "The worker process could not be started."},
    EventInfo{"serve.privileges_kept", kWarning,
              "The daemon could not give up privileges that it does not need."},
    EventInfo{"serve.ready", kInfo, "The node serves."},
    EventInfo{"serve.starting", kInfo, "The node starts."},
    EventInfo{"serve.stopped", kInfo, "The node has ended."},
    EventInfo{"serve.stopping", kInfo, "The node was asked to stop."},
    EventInfo{"serve.unmounted", kError, "Somebody unmounted the mount, so the node has ended."},
    EventInfo{"serve.worker_died", kError, "The worker process has died; another is started."},
    EventInfo{"serve.worker_replaced", kInfo, "The new worker serves the mount of the dead one."},
    EventInfo{"shuffle.dropped", kInfo, "A shuffle or an application was dropped."},
    EventInfo{"shuffle.ended", kInfo,
              "The last map output of a shuffle was removed, and its merged partitions with it."},
    EventInfo{"spark.accept_failed", kWarning,
              "A connection to the shuffle service could not be accepted."},
    EventInfo{"spark.block_failed", kWarning,
              "A block could not be sent; the reason names it. Spark runs the map again."},
    EventInfo{"spark.connection_closed", kWarning,
              "A connection of Spark was closed: a limit, or what it sent."},
    EventInfo{"spark.connection_lost", kDebug, "A client of Spark has closed its connection."},
    EventInfo{"spark.connection_stalled", kWarning,
              "A connection of Spark was closed: the client stopped taking or sending."},
    EventInfo{"spark.corruption_reported", kWarning,
              "Spark found a block damaged and asked for the cause."},
    EventInfo{"spark.read_failed", kWarning,
              "The disk failed in the middle of a block; the connection is closed and Spark tries "
              "again."},
    EventInfo{"spark.request_failed", kWarning,
              "A request of Spark was refused; the reason says why."},
    EventInfo{"spark.started", kInfo, "The shuffle service for Spark listens."},
    EventInfo{"spark.too_many_connections", kWarning,
              "A connection of Spark was closed: there are too many."},
    EventInfo{
        "table.bad_records", kWarning,
        "The table's log has records that this version does not understand; they are skipped."},
    EventInfo{"table.cut", kWarning,
              "The log of a shuffle ends in a torn record; the records before it count."},
    EventInfo{"table.not_written", kError,
              "An event of map outputs could not be written to the table's log; it is kept in "
              "memory and tried again."},
    EventInfo{"takeover.begun", kInfo, "Another process asks for the mount."},
    EventInfo{"takeover.done", kInfo, "The mount was taken from another process."},
    EventInfo{"takeover.failed", kError, "The mount could not be taken over or given away."},
    EventInfo{"takeover.given", kInfo, "Another process has the mount now."},
    EventInfo{"takeover.refused", kWarning, "A takeover is not possible; the reason says why."},
    EventInfo{"takeover.unavailable", kWarning,
              "The socket for takeovers could not be made; the node serves all the same."},
    EventInfo{"trash.not_removed", kWarning,
              "What was dropped could not be deleted: it takes space until the next start."},
};

constexpr std::string_view kHead = R"(# Events

<!-- Generated by `shufflefs generate-docs .` from main/events.cc; a test compares them. -->

The log has one line for each event: the time in UTC, the level, a code that stays the same from version to version, and key=value pairs.
[`log-level`](configuration.md#log-level) says what is logged; `shufflefs log-level` changes it. Of each code ten warnings or errors pass in
ten seconds; the next one says how many did not (`suppressed=N`).

    2026-11-21T06:30:04.787Z info serve.worker_replaced pid=8349 took_ms=18

With `--log-format json` all values are text:

    {"time":"2026-11-21T06:30:04.787Z","level":"info","event":"serve.worker_replaced","pid":"8349","took_ms":"18"}

The cure for each warning and error is in [troubleshooting.md](troubleshooting.md).

| event | level | meaning |
| --- | --- | --- |
)";

}  // namespace

std::span<const EventInfo> events() { return kEvents; }

std::string events_page() {
  std::string page(kHead);
  for (const EventInfo& event : kEvents)
    page += fmt::format("| `{}` | {} | {} |\n", event.code, to_string(event.level), event.meaning);
  return page;
}

}  // namespace shufflefs
