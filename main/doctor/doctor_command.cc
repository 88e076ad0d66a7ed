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
#include "main/api_client.h"
#include "main/client_options.h"
#include "main/commands.h"
#include "main/doctor/checks.h"
#include "main/serve_options.h"
#include "main/status_view.h"
#include "main/version.h"

namespace shufflefs {
namespace {

using doctor::Report;
using doctor::Subject;

struct DoctorOptions {
  ClientOptions client;
  std::string spark_conf;
  std::vector<std::string> unknown;
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
  const std::string path = status_view(*answer).mount + "/.shufflefs/config";
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
void load(const ServeOptions& serve, const DoctorOptions& options, Subject& subject,
          Report& report) {
  // The machine is looked at by checks of our own; our own mount is there if the node runs.
  constexpr Machine kNothingRuns{.is_root = true, .has_fuse_device = true, .will_mount = true};
  constexpr Machine kNodeRuns{.is_root = true, .has_fuse_device = true, .will_mount = false};
  const auto running = running_settings(subject.http);
  const Settings theirs = running ? config_from(*running, kNodeRuns).settings : Settings();
  const auto is_theirs = [&](const Settings& settings) {
    return running && settings.mount == theirs.mount && settings.node == theirs.node;
  };
  if (!serve.any_given() && options.unknown.empty()) {
    subject.settings = running ? theirs : load_config({}, std::nullopt, kNothingRuns).settings;
    subject.daemon_runs = running.has_value();
    subject.has_settings = running.has_value();
    return;
  }
  LoadedConfig given = load_config(serve.values(options.unknown), serve.file(), kNothingRuns);
  if (is_theirs(given.settings))
    given = load_config(serve.values(options.unknown), serve.file(), kNodeRuns);
  take_mistakes(given.mistakes, report);
  if (given.mistakes.empty()) report.ok("config", "no mistakes");
  subject.settings = given.settings;
  subject.daemon_runs = is_theirs(given.settings);
  subject.has_settings = !given.settings.data.empty() && !given.settings.mount.empty();
}

int run_doctor(const ServeOptions& serve, const DoctorOptions& options) {
  const auto http = api_address(options.client.http);
  if (!http) return complain(http.error().message, kExitUsage);
  log_set_level(LogLevel::kError);  // what is found is in the report
  Report report;
  Subject subject;
  subject.http = *http;
  subject.spark_conf_dir = spark_conf_dir(options.spark_conf);
  utsname system{};
  ::uname(&system);
  doctor::check_kernel(subject, system.release, report);
  doctor::check_fuse_device(subject, report);
  doctor::check_capabilities(subject, report);
  doctor::check_apparmor(subject, report);
  doctor::check_file_limit(report);
  load(serve, options, subject, report);
  doctor::check_memory(subject, report);
  doctor::check_disks(subject, report);
  doctor::check_stale_mounts(report);
  doctor::check_propagation(subject, report);
  doctor::check_ports(subject, report);
  doctor::check_peers(subject, report);
  doctor::check_spark(subject, report);
  doctor::check_daemon(subject, report);
  if (options.client.json)
    print_json(report_json(report));
  else
    std::cout << report_page(report, Terminal::of(1));
  return report.has_problem() ? kExitBad : kExitOk;
}

}  // namespace

void add_doctor_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* const command = add_client_command(
      app, "doctor", "Look for what is wrong: machine, configuration, nodes, Spark",
      options->client);
  command
      ->add_option("--spark-conf", options->spark_conf,
                   "Spark's configuration (default: SPARK_CONF_DIR, else SPARK_HOME/conf)")
      ->type_name("DIR");
  const auto serve = std::make_shared<ServeOptions>(*command);
  command->allow_extras();
  command->footer(
      "It changes nothing and needs no running node. Give it the flags or the --config file of\n"
      "'serve'; without them it looks at the node that answers at --http, else at the machine "
      "alone.\n"
      "Exit codes: 0 no problem (there may be warnings); 1 it could not look; 2 usage; 3 a "
      "problem.\n\n"
      "  shufflefs doctor --config /etc/shufflefs.toml\n"
      "  shufflefs doctor --json | jq '.findings[] | select(.severity == \"problem\")'");
  command->callback([command, serve, options, &context] {
    options->unknown = command->remaining();
    context.exit_code = run_doctor(*serve, *options);
  });
}

}  // namespace shufflefs
