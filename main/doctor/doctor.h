// The doctor's checks. Each looks at one thing, changes nothing, and adds at least one finding.
//
// Threads: one, and no other may run. Bound: each wait has a deadline, in all some ten seconds on a
// machine with hung mounts and dead peers.
#pragma once

#include <sys/types.h>

#include <boost/json/value.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/parse.h"
#include "base/result.h"
#include "main/settings.h"
#include "main/terminal.h"

namespace shufflefs::doctor {

// A problem fails jobs or the daemon, a warning makes it slow or fragile.
enum class Severity { kOk, kNote, kWarning, kProblem };

struct Finding {
  std::string check;  // a stable word: "kernel", "port", ...
  Severity severity = Severity::kOk;
  std::string what;
  std::string why;     // empty if all is well
  std::string remedy;  // empty if all is well
};

class Report {
 public:
  void ok(std::string check, std::string what);
  // Something to know, for which there is nothing to do.
  void note(std::string check, std::string what, std::string why);
  void warning(std::string check, std::string what, std::string why, std::string remedy);
  void problem(std::string check, std::string what, std::string why, std::string remedy);

  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
  [[nodiscard]] std::size_t count(Severity severity) const;
  [[nodiscard]] bool has_problem() const { return count(Severity::kProblem) > 0; }

 private:
  std::vector<Finding> findings_;
};

[[nodiscard]] std::string report_page(const Report& report, const Terminal& terminal);
[[nodiscard]] boost::json::value report_json(const Report& report);

// The machine as the doctor reads it: files of /proc, /sys and /etc, below a root that is a
// directory of made-up files in tests. What cannot be read is empty.
class Host {
 public:
  explicit Host(std::string root = "") : root_(std::move(root)) {}

  // The whole file; empty if there is none.
  [[nodiscard]] std::string read(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  // The first line without blanks at its ends.
  [[nodiscard]] std::string line(const std::string& path) const;
  // Names in a directory, sorted.
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const;
  // The target of a symbolic link; empty if it is none.
  [[nodiscard]] std::string link(const std::string& path) const;

 private:
  std::string root_;
};

// The words of a process: its command line and its environment.
struct Process {
  pid_t pid = 0;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;

  [[nodiscard]] bool has_argument(std::string_view text) const;
  [[nodiscard]] std::optional<std::string> variable(std::string_view name) const;
  // "java (pid 812, ...Worker)": enough to find it.
  [[nodiscard]] std::string label() const;
};
[[nodiscard]] std::vector<Process> processes(const Host& host);
[[nodiscard]] Process process_of(const Host& host, pid_t pid);

// Runs `work` in a child process and returns its text: for calls into a mount that may hang, and
// for what must leave no trace in this process. The child is killed when the time is over.
// REQUIRES: no other thread runs. kTimeout; else the error of `work`.
[[nodiscard]] Result<std::string> in_child(const std::function<Result<std::string>()>& work,
                                           std::chrono::milliseconds patience);

// ---- Spark's configuration as it lies in SPARK_CONF_DIR, read without executing anything ----

using SparkConf = std::map<std::string, std::string, std::less<>>;

// "key value", "key=value" and "key: value", as java.util.Properties reads them; # and ! comment.
[[nodiscard]] SparkConf parse_spark_defaults(const std::string& text);
// NAME=value and export NAME=value, quotes taken off; what needs a shell ($, `) is left as it is.
[[nodiscard]] SparkConf parse_spark_env(const std::string& text);

// What there is to know before anything is looked at.
struct Subject {
  Host host;
  std::string kernel;         // its release: "6.12.1"
  Settings settings;          // the defaults, if nothing was given
  bool has_settings = false;  // node, mount and data are known
  bool daemon_runs = false;   // the one with these settings, at `http`
  HostPort http;
  std::string spark_conf_dir;  // empty: none found
};

// machine.cc
void check_kernel(const Subject& subject, Report& report);
void check_fuse_device(const Subject& subject, Report& report);
void check_capabilities(const Subject& subject, Report& report);
void check_apparmor(const Subject& subject, Report& report);
void check_file_limit(const Subject& subject, Report& report);
void check_memory(const Subject& subject, Report& report);
void check_dead_mounts(const Subject& subject, Report& report);
void check_propagation(const Subject& subject, Report& report);
// disks.cc: kind, space, local-mode by a real try
void check_disks(const Subject& subject, Report& report);
// network.cc: ports; who answers, and whose clock is wrong; what a running daemon says of itself
void check_ports(const Subject& subject, Report& report);
void check_peers(const Subject& subject, Report& report);
void check_daemon(const Subject& subject, Report& report);
// spark.cc: settings and processes of Spark that clash
void check_spark(const Subject& subject, Report& report);

// Who listens there on this machine, or on all of its addresses, from /proc; nothing if nobody does
// or it cannot be seen.
[[nodiscard]] std::optional<Process> listener_of(const Host& host, const HostPort& address);

}  // namespace shufflefs::doctor
