// `shufflefs doctor`: looks at the machine, the configuration, the other nodes, Spark and the
// running node, and says what is wrong and what to do.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/fd.h"
#include "base/log.h"
#include "main/client.h"
#include "main/commands.h"
#include "main/doctor/doctor.h"
#include "main/serve.h"
#include "main/version.h"
#include "main/views.h"

namespace shufflefs {
namespace {

using doctor::Report;
using doctor::Subject;

struct DoctorOptions : ClientOptions {
  std::string spark_conf;
  CLI::App* command = nullptr;
  std::optional<ServeOptions> serve;
};

// In the order of the report. The configuration's mistakes come first.
constexpr std::array kChecks = {
    doctor::check_kernel,   doctor::check_fuse_device, doctor::check_capabilities,
    doctor::check_apparmor, doctor::check_file_limit,  doctor::check_memory,
    doctor::check_disks,    doctor::check_dead_mounts, doctor::check_propagation,
    doctor::check_ports,    doctor::check_peers,       doctor::check_spark,
    doctor::check_daemon,
};

std::string spark_conf_dir(const std::string& given) {
  if (!given.empty()) return given;
  const char* const conf = std::getenv("SPARK_CONF_DIR");
  if (conf != nullptr && *conf != '\0') return conf;
  const char* const home = std::getenv("SPARK_HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/conf" : std::string();
}

// What the running node runs with, from its mount; nothing if none runs or its mount hangs.
std::optional<std::string> running_settings(const HostPort& http) {
  const auto answer =
      api_call(net::HttpMethod::kGet, http, "/api/v1/status", std::chrono::seconds(5));
  if (!answer) return std::nullopt;
  const std::string path = View(*answer).text("mount") + "/.shufflefs/config";
  const auto text = doctor::in_child(
      [&]() -> Result<std::string> {
        std::ifstream file(path);
        std::ostringstream content;
        content << file.rdbuf();
        if (content.str().empty()) return errno_error(path, ENOENT);
        return content.str();
      },
      std::chrono::seconds(3));
  return text ? std::optional(*text) : std::nullopt;
}

// The mistakes of the configuration are findings like any other.
void take_mistakes(const std::vector<Mistake>& mistakes, Report& report) {
  for (const Mistake& mistake : mistakes) {
    std::string what = mistake.key;
    if (!mistake.value.empty()) what += fmt::format(" = {}", mistake.value);
    if (!mistake.source.empty()) what += fmt::format(" ({})", mistake.source);
    what += (what.empty() ? "" : ": ") + mistake.reason;
    report.problem("config", what, "the daemon does not start with it", mistake.remedy);
  }
}

LoadedConfig config_from(const std::string& text, const Machine& machine) {
  const Fd file(::memfd_create("settings", MFD_CLOEXEC));
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return {};
  return load_config({}, fmt::format("/proc/self/fd/{}", file.get()), machine);
}

// What was given, else what the running node runs with, else the defaults.
void load(const DoctorOptions& options, Subject& subject, Report& report) {
  const std::vector<std::string> unknown = options.command->remaining();
  // The machine is looked at by checks of our own; our own mount is there if the node runs.
  constexpr Machine kNothingRuns{.is_root = true, .has_fuse_device = true, .will_mount = true};
  constexpr Machine kNodeRuns{.is_root = true, .has_fuse_device = true, .will_mount = false};
  const auto running = running_settings(subject.http);
  const Settings theirs = running ? config_from(*running, kNodeRuns).settings : Settings();
  const auto is_theirs = [&](const Settings& settings) {
    return running && settings.mount == theirs.mount && settings.node == theirs.node;
  };
  if (!options.serve->any_given() && unknown.empty()) {
    subject.settings = running ? theirs : load_config({}, std::nullopt, kNothingRuns).settings;
    subject.daemon_runs = running.has_value();
    subject.has_settings = running.has_value();
    return;
  }
  const RawConfig flags = options.serve->values(unknown);
  LoadedConfig given = load_config(flags, options.serve->file(), kNothingRuns);
  if (is_theirs(given.settings)) given = load_config(flags, options.serve->file(), kNodeRuns);
  take_mistakes(given.mistakes, report);
  if (given.mistakes.empty()) report.ok("config", "no mistakes");
  subject.settings = given.settings;
  subject.daemon_runs = is_theirs(given.settings);
  subject.has_settings = !given.settings.data.empty() && !given.settings.mount.empty();
}

Result<int> run_doctor(const HostPort& http, const DoctorOptions& options) {
  log_set_level(LogLevel::kError);  // what is found is in the report
  Report report;
  Subject subject;
  subject.http = http;
  subject.spark_conf_dir = spark_conf_dir(options.spark_conf);
  utsname system{};
  ::uname(&system);
  subject.kernel = system.release;
  load(options, subject, report);
  for (const auto check : kChecks) check(subject, report);
  if (options.json)
    print_json(report_json(report));
  else
    std::cout << report_page(report, Terminal::of(1));
  return report.has_problem() ? kExitBad : kExitOk;
}

}  // namespace

void add_doctor_command(CLI::App& app, CommandContext& context) {
  const auto [command, options] = add_client_command(
      app, context, "doctor", "Look for what is wrong: machine, configuration, nodes, Spark",
      run_doctor);
  command
      ->add_option("--spark-conf", options->spark_conf,
                   "Spark's configuration (default: SPARK_CONF_DIR, else SPARK_HOME/conf)")
      ->type_name("DIR");
  options->command = command;
  options->serve.emplace(*command);
  command->allow_extras();
  command->footer(
      "It changes nothing and needs no running node. Give it the flags or the --config file of\n"
      "'serve'; without them it looks at the node that answers at --http, else at the machine "
      "alone.\n"
      "Exit codes: 0 no problem (there may be warnings); 1 it could not look; 2 usage; 3 a "
      "problem.\n\n"
      "  shufflefs doctor --config /etc/shufflefs/shufflefs.toml\n"
      "  shufflefs doctor --json | jq '.findings[] | select(.severity == \"problem\")'");
}

}  // namespace shufflefs
