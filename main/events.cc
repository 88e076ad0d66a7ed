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
              "A node could not be told the news of map outputs; it is told again."},
    EventInfo{"announce.unreadable", kWarning,
              "The block sizes of a map output cannot be read. After an I/O error its announcement "
              "waits; otherwise it is told of without them."},
    EventInfo{"app.over_quota", kWarning,
              "An application has more map outputs on this node than app-quota allows: it can make "
              "no new file."},
    EventInfo{
        "app.two_owners", kWarning,
        "Two users have map outputs in one application: what is merged of it is for root only."},
    EventInfo{
        "application.ended", kInfo,
        "An application showed no sign of life for app-ttl: what it left goes into the trash."},
    EventInfo{"application.not_removed", kWarning,
              "A directory of an ended application could not be moved into the trash."},
    EventInfo{"commit.bad_application", kWarning,
              "The attribute user.shufflefs.app of a directory is no application id."},
    EventInfo{"commit.disk_unreadable", kWarning,
              "A data disk could not be searched for map outputs: what is on it is not known."},
    EventInfo{
        "commit.path_unknown", kWarning,
        "A renamed file under local/ could not be found by its path; the next scan finds it."},
    EventInfo{
        "commit.refused", kWarning,
        "A map output is not accepted: its index and its data contradict each other, or a name "
        "in it is wrong."},
    EventInfo{"config.data_not_made", kError, "A data directory could not be made."},
    EventInfo{"disk.failed", kError,
              "A data disk answered with an I/O error: nothing more is merged onto it, what was is "
              "read from its origins."},
    EventInfo{"disk.recovered", kInfo,
              "A data disk that had failed can be written and read again."},
    EventInfo{"disk.tail_lost", kError,
              "The last bytes of a merged file could not be written: the blocks in them are read "
              "from their origins."},
    EventInfo{"executor.forgotten", kInfo, "All directories of a registered executor are gone."},
    EventInfo{"executor.not_removed", kWarning,
              "A file that Spark asked to remove could not be moved into the trash."},
    EventInfo{"executor.process_found", kDebug,
              "The process of an executor that has registered was found: its end will be seen."},
    EventInfo{"executor.registered", kInfo, "An executor of Spark has registered its directories."},
    EventInfo{"executor.replaced", kInfo,
              "An executor has registered again with other directories: its map outputs in the "
              "directory that it left are over."},
    EventInfo{"executor.temporaries_removed", kInfo,
              "The temporary files of an executor whose process has ended were removed."},
    EventInfo{"executors.left_out", kWarning,
              "A registration that was kept names directories that are not allowed now."},
    EventInfo{"executors.not_written", kError,
              "The file of a registration could not be written or removed; it holds until the next "
              "restart."},
    EventInfo{
        "executors.search_cut", kWarning,
        "The search for the processes of executors met one of its limits: whose was not found "
        "is taken for alive."},
    EventInfo{
        "executors.unreadable", kError,
        "The file of an executor is damaged and was removed: the executor is unknown until it "
        "registers again."},
    EventInfo{"fuse.library", kWarning, "What libfuse itself complains about."},
    EventInfo{"http.accept_failed", kWarning, "A connection to the HTTP port could not be taken."},
    EventInfo{"http.handler_failed", kError,
              "A request to the HTTP port failed by a fault of ours."},
    EventInfo{"http.handler_slow", kWarning,
              "A request to the HTTP port had no answer within its deadline."},
    EventInfo{"http.too_many_connections", kWarning,
              "A connection to the HTTP port was closed, because there are too many."},
    EventInfo{"internal.exception", kError, "A task ended by an exception: a fault of ours."},
    EventInfo{
        "lock.not_noted", kWarning,
        "The process id could not be written into the lock of a data directory; the lock holds."},
    EventInfo{"log.level", kInfo, "The log level was changed by 'shufflefs log-level'."},
    EventInfo{"log.suppressed", kWarning,
              "So many events of one code were not logged: more than ten came within ten seconds."},
    EventInfo{"map.committed", kDebug, "A map output was recognised and accepted."},
    EventInfo{"map.found", kInfo,
              "The files of a map output that was lost are there again, as they were committed."},
    EventInfo{"map.lost", kError,
              "The files of a map output are gone, cut or changed, and nobody removed it: only its "
              "merged blocks can be read."},
    EventInfo{"membership.address_moved", kInfo, "A node was found at another address."},
    EventInfo{"membership.forgotten", kInfo,
              "Somebody had a node that is down forgotten: it is no member any more."},
    EventInfo{"membership.incarnation", kInfo, "A node was seen for the first time, or restarted."},
    EventInfo{"membership.joined", kInfo, "A node is a member from now on."},
    EventInfo{"membership.leaving", kInfo,
              "This node has been drained and stops: it tells the others that it leaves for good."},
    EventInfo{"membership.left", kInfo, "A node is no member any more."},
    EventInfo{"membership.listed", kInfo, "DNS lists a new address."},
    EventInfo{"membership.lookup_failed", kWarning,
              "The members could not be looked up in DNS; the last answer counts."},
    EventInfo{"membership.lookup_ok", kInfo, "The members can be looked up again."},
    EventInfo{"membership.lost", kInfo,
              "DNS does not list a node any more, and it has been down for member-ttl."},
    EventInfo{"membership.name_taken", kError, "Two nodes have the same name."},
    EventInfo{"membership.not_read", kWarning,
              "The list of members of before the restart cannot be read; the others tell it."},
    EventInfo{"membership.not_taken", kWarning,
              "Another node tells of a member that this node does not take; the reason says why."},
    EventInfo{"membership.not_written", kWarning,
              "The list of members could not be written; it is tried again."},
    EventInfo{"membership.returned", kWarning,
              "The others took this node for gone for good, and hear that it is there."},
    EventInfo{"membership.unlisted", kInfo, "DNS does not list an address any more."},
    EventInfo{"membership.views_agree", kInfo, "The list of a node is the same as ours again."},
    EventInfo{"membership.views_differ", kWarning,
              "A node has had another list of members for more than a few seconds."},
    EventInfo{"merge.evicted", kWarning,
              "A disk is running full: what was merged of a shuffle was removed from it. Its "
              "blocks are read from their origins."},
    EventInfo{"merge.foreign_name", kWarning,
              "Something below <data>/merged has no name of ours; it is left alone."},
    EventInfo{
        "merge.index_cut", kWarning,
        "The end of a merged partition did not match its checksums, as after a power failure: "
        "those blocks were cut off and are read from their origin."},
    EventInfo{"merge.index_unreadable", kWarning,
              "The index of a merged partition is no index: it was put aside, and its blocks are "
              "read from their origin."},
    EventInfo{"merge.not_dropped", kWarning,
              "Merged data of a shuffle that was dropped could not be moved into the trash: it is "
              "not read, and moved later."},
    EventInfo{"merge.not_forgotten", kWarning,
              "A removed map output could not be taken out of a merged partition's index."},
    EventInfo{"merge.refused", kWarning, "A pushed chunk was not merged here."},
    EventInfo{"merge.unreadable", kWarning,
              "A merged partition cannot be read: its blocks are read from their origins."},
    EventInfo{"mount.abort_failed", kError,
              "The kernel's connection could not be aborted when the node stopped."},
    EventInfo{"mount.detach_failed", kError, "The mount could not be unmounted at the end."},
    EventInfo{"mount.ended", kWarning,
              "The mount ended by itself: somebody unmounted or aborted it."},
    EventInfo{"mount.feature_missing", kDebug, "The kernel does not offer a feature of FUSE."},
    EventInfo{"mount.file_limit", kInfo, "The limit of open files was raised."},
    EventInfo{"mount.handed_over", kInfo, "This worker has left the mount to another."},
    EventInfo{"mount.io_uring_refused", kWarning,
              "fuse-io-uring was asked for and is not there; /dev/fuse is used."},
    EventInfo{"mount.names_kept", kWarning,
              "Files that the daemon removed may be listed on the mount for another minute."},
    EventInfo{"mount.not_kept", kWarning,
              "Should the worker die now, open files or the whole mount do not outlive it."},
    EventInfo{"mount.open_file_lost", kError,
              "After a worker's death an open file could not be opened again."},
    EventInfo{"mount.open_partition_lost", kError,
              "After a worker's death an open partition could not be opened again."},
    EventInfo{"mount.ready", kInfo, "The mount answers; with what the kernel offers."},
    EventInfo{"mount.resend_failed", kError,
              "The kernel could not be asked to send again what a dead worker had left."},
    EventInfo{
        "mount.saved_record_lost", kError,
        "After a worker's death records of the mount's state could not be read, and are left out."},
    EventInfo{"mount.snapshot_not_kept", kWarning,
              "An open partition could not be saved for the case that the worker dies."},
    EventInfo{"mount.stale_detached", kWarning,
              "A dead mount was found at our path and detached: the last supervisor was killed."},
    EventInfo{"mount.stopped", kInfo, "The mount has ended as it was asked to."},
    EventInfo{"mount.taken_over", kInfo, "This worker goes on with the mount of one before it."},
    EventInfo{"mount.thread_left_behind", kError,
              "A thread that serves the mount did not end: it hangs on a disk."},
    EventInfo{"namespace.bad_name", kWarning,
              "Somebody made a directory under shuffles/ whose name cannot be an application or a "
              "shuffle."},
    EventInfo{"namespace.drop_incomplete", kWarning,
              "An rm -r of a shuffle did not reach every node; the others hear of it later."},
    EventInfo{"namespace.mkdir_failed", kWarning,
              "A directory under shuffles/ could not be made on the disk."},
    EventInfo{"node.draining", kInfo,
              "The node takes no more pushes, and brings what exists only on it to others."},
    EventInfo{"node.not_draining", kInfo, "The node is not being drained any more."},
    EventInfo{"partition.incomplete", kWarning,
              "A reader got an I/O error, because a block of the partition is on no node that "
              "answers."},
    EventInfo{"partition.read_failed", kWarning,
              "A reader of a partition got an I/O error: neither copy of a block could be read."},
    EventInfo{"passthrough.refused", kWarning,
              "The kernel does not pass files through to the disk; such files are served by the "
              "daemon, slower. Once for each reason."},
    EventInfo{
        "passthrough.state_disagrees", kError,
        "After a worker's death a file was open by another backing id than was saved: a fault "
        "of ours."},
    EventInfo{"peer.accept_failed", kWarning, "A connection of another node could not be taken."},
    EventInfo{"peer.auth_not_reloaded", kWarning,
              "The secret or a certificate has changed on disk and cannot be read: the one before "
              "stays in use."},
    EventInfo{"peer.auth_reloaded", kInfo,
              "The secret or a certificate has changed on disk and is used from now on."},
    EventInfo{"peer.connection_lost", kDebug, "Another node has closed its connection."},
    EventInfo{"peer.down", kWarning,
              "Another node does not answer; its blocks are read from elsewhere."},
    EventInfo{"peer.insecure", kWarning, "Whoever reaches the peer port is taken for a node."},
    EventInfo{"peer.protocol_error", kWarning,
              "What came from another node, or from whoever connected, is not our protocol."},
    EventInfo{
        "peer.refused", kWarning,
        "Somebody who is no node of this cluster, by secret, certificate or name, has connected."},
    EventInfo{"peer.stalled", kWarning, "Another node stopped in the middle of a message."},
    EventInfo{
        "peer.this_machine_only", kInfo,
        "The peer port is for this machine only, as nodes have no way to prove who they are."},
    EventInfo{"peer.too_many_connections", kWarning,
              "A connection to the peer port was closed, because there are too many."},
    EventInfo{"peer.up", kInfo, "Another node answers again."},
    EventInfo{"push.gave_up", kWarning,
              "Blocks will not be merged: their owner did not take them. They are read from where "
              "they were written."},
    EventInfo{"push.left_alone", kWarning,
              "An owner has failed several times in a row: nothing is pushed to it for a while."},
    EventInfo{"push.unreadable", kWarning,
              "A map output cannot be read from its own disk, so it is not pushed."},
    EventInfo{"reactor.disk_wait", kError,
              "The thread that answers everybody has waited for a disk: a fault of ours."},
    EventInfo{"read.fallback", kWarning,
              "A merged block was damaged, short or gone, and was read from its origin instead."},
    EventInfo{"serve.ended_by_force", kError, "A stop took too long and the worker was killed."},
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
              "A connection to the shuffle service could not be taken."},
    EventInfo{"spark.block_failed", kWarning,
              "A block could not be sent; the message names it and says why. Spark runs the map "
              "again."},
    EventInfo{"spark.connection_closed", kWarning,
              "A connection of Spark was closed: at a limit, or because of what it sent."},
    EventInfo{"spark.connection_lost", kDebug, "A client of Spark has closed its connection."},
    EventInfo{"spark.connection_stalled", kWarning,
              "A connection of Spark was closed, because the client stopped taking or sending."},
    EventInfo{"spark.corruption_reported", kWarning,
              "Spark found a block damaged and asked for the cause."},
    EventInfo{"spark.read_failed", kWarning,
              "The disk failed in the middle of a block; the connection is closed and Spark tries "
              "again."},
    EventInfo{"spark.request_failed", kWarning,
              "A request of Spark was refused; the reason says why."},
    EventInfo{"spark.started", kInfo, "The shuffle service for Spark listens."},
    EventInfo{"spark.too_many_connections", kWarning,
              "A connection of Spark was closed, because there are too many."},
    EventInfo{
        "table.bad_records", kWarning,
        "The table's log has records that this version does not understand; they are left out."},
    EventInfo{"table.cut", kWarning,
              "The log of a shuffle ends in a torn record; the records before it count."},
    EventInfo{"table.not_written", kError,
              "What happened to map outputs could not be written to the table's log; it is kept in "
              "memory and tried again."},
    EventInfo{"takeover.begun", kInfo, "Another process asks for the mount."},
    EventInfo{"takeover.done", kInfo, "The mount was taken from another process."},
    EventInfo{"takeover.failed", kError, "The mount could not be taken over or given away."},
    EventInfo{"takeover.given", kInfo, "Another process has the mount now."},
    EventInfo{"takeover.refused", kWarning, "A takeover was asked for that is not possible."},
    EventInfo{"takeover.unavailable", kWarning,
              "The socket for takeovers could not be made; the node serves as well."},
    EventInfo{"trash.not_removed", kWarning,
              "What was dropped could not be deleted: it takes space until the next start."},
};

constexpr std::string_view kHead = R"(# Events

<!-- Generated by `shufflefs generate-docs .` from main/events.cc; a test compares them. -->

The log has one line for each event: the time in UTC, the level, a code that stays the same from version to version, and
key=value pairs. `log-level` says what is logged ([configuration.md](configuration.md#log-level)), `shufflefs log-level`
changes it while the node runs. Of a code, ten warnings or errors pass in ten seconds; the next one says how many
did not (`suppressed=N`).

    2026-11-21T06:30:04.787Z info serve.worker_replaced pid=8349 took_ms=18

The same event with `--log-format json`, where all values are text:

    {"time":"2026-11-21T06:30:04.787Z","level":"info","event":"serve.worker_replaced","pid":"8349","took_ms":"18"}

What to do about warnings and errors is in
[troubleshooting.md](troubleshooting.md).

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
