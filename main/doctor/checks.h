// The doctor's checks. Each looks at one thing, changes nothing, and adds at least one finding.
//
// Threads: one, and no other may run. Bound: each wait has a deadline, in all some ten seconds on a
// machine with hung mounts and dead peers.
#pragma once

#include "base/parse.h"
#include "main/doctor/host.h"
#include "main/doctor/report.h"
#include "main/settings.h"

namespace shufflefs::doctor {

// What there is to know before anything is looked at.
struct Subject {
  Host host;
  Settings settings;          // the defaults, if nothing was given
  bool has_settings = false;  // node, mount and data are known
  bool daemon_runs = false;   // the one with these settings, at `http`
  HostPort http;
  std::string spark_conf_dir;  // empty: none found
};

// ---- the machine (machine.cc) ----
void check_kernel(const Subject& subject, const std::string& release, Report& report);
void check_fuse_device(const Subject& subject, Report& report);
void check_capabilities(const Subject& subject, Report& report);
void check_apparmor(const Subject& subject, Report& report);
void check_file_limit(Report& report);
void check_memory(const Subject& subject, Report& report);

// ---- disks.cc: kind, space, passthrough by a real try ----
void check_disks(const Subject& subject, Report& report);

// ---- mounts.cc: dead mounts, and who will see ours ----
void check_stale_mounts(Report& report);
void check_propagation(const Subject& subject, Report& report);

// ---- ports.cc ----
void check_ports(const Subject& subject, Report& report);

// ---- peers.cc: who answers, and whose clock is wrong ----
void check_peers(const Subject& subject, Report& report);

// ---- spark.cc: settings and processes of Spark that clash ----
void check_spark(const Subject& subject, Report& report);

// ---- daemon.cc: what a running daemon says of itself ----
void check_daemon(const Subject& subject, Report& report);

// Who listens there on this machine, or on all of its addresses, from /proc; nothing if nobody does
// or it cannot be seen.
[[nodiscard]] std::optional<Process> listener_of(const Host& host, const HostPort& address);

}  // namespace shufflefs::doctor
