#include "main/serve.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/log.h"
#include "main/commands.h"
#include "main/config.h"
#include "main/config_keys.h"
#include "main/control_socket.h"
#include "main/privileges.h"
#include "main/supervisor.h"
#include "main/version.h"

namespace shufflefs {
namespace {

std::string help_of(const ConfigKey& key) {
  std::string help(key.help);
  if (key.required())
    help += " Required";
  else
    help +=
        fmt::format(" Default: {}", key.default_text.empty() ? key.default_note : key.default_text);
  if (const std::string range = range_text(key); !range.empty() && key.kind != ValueKind::kSwitch)
    help += fmt::format("; allowed: {}", range);
  if (key.repeatable()) help += "; may be given several times";
  return help + ".";
}

// Takes any text, also none, and any number of times: what is wrong is reported later with
// everything else.
CLI::Option* add_text_option(CLI::App& command, std::string_view name, const std::string& help,
                             std::string_view type) {
  CLI::Option* const option = command.add_option(fmt::format("--{}", name));
  option->description(help)->type_name(std::string(type))->expected(0, 1)->take_all();
  return option;
}

}  // namespace

ServeOptions::ServeOptions(CLI::App& command)
    : file_(add_text_option(command, "config",
                            "A TOML file with the same keys; the command line wins.", "FILE")) {
  for (const ConfigKey& key : config_keys()) {
    options_.emplace_back(key.name,
                          add_text_option(command, key.name, help_of(key), placeholder(key.kind)));
  }
}

bool ServeOptions::any_given() const {
  return file_->count() > 0 ||
         std::ranges::any_of(options_, [](const auto& entry) { return entry.second->count() > 0; });
}

std::optional<std::string> ServeOptions::file() const {
  if (file_->count() == 0) return std::nullopt;
  return file_->results().back();
}

RawConfig ServeOptions::values(const std::vector<std::string>& unknown) const {
  RawConfig values;
  for (const auto& [name, option] : options_) {
    if (option->count() > 0) values[std::string(name)] = {option->results(), "command line"};
  }
  std::string last;
  for (const std::string& word : unknown) {
    if (!word.starts_with("--")) {
      // The value of the unknown flag before it, or a word that belongs to nothing.
      values[last.empty() ? word : last].source = "command line";
      if (!last.empty()) values[last].texts.push_back(word);
      last.clear();
      continue;
    }
    const auto equals = word.find('=');
    last = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    values[last].source = "command line";
    if (equals != std::string::npos)
      values[std::exchange(last, "")].texts.push_back(word.substr(equals + 1));
  }
  return values;
}

namespace {

bool make_data_directories(const Settings& settings) {
  bool all_made = true;
  for (const std::string& directory : settings.data) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (!error) continue;
    all_made = false;
    log_error("config.data_not_made", {{"data", directory}, {"reason", error.message()}});
  }
  return all_made;
}

void say_who_gets_in(const Settings& settings) {
  const PeerSecuritySettings& security = settings.peer_security;
  if (security.authenticates()) return;
  if (security.insecure) {
    log_warning("peer.insecure",
                {{"address", to_string(settings.peer_listen)},
                 {"meaning", "whoever reaches this port can read and write shuffle data"},
                 {"remedy", "give every node the same --secret-file"}});
  } else {
    log_info("peer.this_machine_only",
             {{"address", to_string(settings.peer_listen)},
              {"reason", "there is no --secret-file, no --tls-cert and no --insecure"}});
  }
}

enum class Start {
  kMount,
  kTakeOver,  // fails if no node runs
  kInPod,     // takes over if a node runs, else mounts; stays when it was taken over
};

// Returns the exit code: 0 after a clean stop or when another supervisor has taken over, 1 if the
// node could not be started or had to be ended by force, 2 for mistakes in the configuration.
// REQUIRES: no other thread exists.
int run_serve(const Settings& settings, Start start) {
  log_set_level(settings.log_level);
  log_set_format(settings.log_format);
  log_info("serve.starting",
           {{"version", kVersion}, {"node", settings.node.str()}, {"mount", settings.mount}});
  say_who_gets_in(settings);
  if (!make_data_directories(settings)) return kExitUsage;
  // The workers have no more than it.
  give_up_privileges(settings.spark.relay != SparkRelay::kOff);
  Supervisor supervisor(settings);
  if (start == Start::kInPod) supervisor.stay_after_handover();
  const bool takes_over =
      start == Start::kTakeOver || (start == Start::kInPod && can_take_over(settings));
  if (const int exit_code = takes_over ? supervisor.take_over() : supervisor.mount();
      exit_code != kExitOk) {
    return exit_code;
  }
  return supervisor.run();
}

// The mount is looked at unless it is that of a node which runs with this configuration.
LoadedConfig check_only(const RawConfig& flags, const std::optional<std::string>& file,
                        Machine machine) {
  machine.will_mount = false;
  LoadedConfig config = load_config(flags, file, machine);
  if (!config.mistakes.empty() || can_take_over(config.settings)) return config;
  machine.will_mount = true;
  return load_config(flags, file, machine);
}

}  // namespace

void add_serve_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command =
      app.add_subcommand("serve", "Run a node: mount, merge, answer the other nodes");
  const auto options = std::make_shared<ServeOptions>(*command);
  CLI::Option* const take_over = command->add_flag("--takeover");
  take_over->description(
      "Go on with the mount of the node that runs with the same first data directory, which ends: "
      "an upgrade, or other settings, without unmounting.");
  CLI::Option* const in_pod = command->add_flag("--in-pod");
  in_pod->description(
      "For containers, which are started again whenever they end: takes over if a node runs with "
      "the same first data directory, else mounts; and after another has taken over, waits for "
      "SIGTERM instead of ending.");
  in_pod->excludes(take_over);
  CLI::Option* const check = command->add_flag("--check");
  check->description("Say what is wrong with the configuration, and start nothing.");
  command->allow_extras();
  command->footer(
      "It runs in the foreground, logs to the standard error, and stops within 10 s of SIGTERM; a "
      "second\n"
      "signal ends it at once. A supervisor holds the mount, a worker process does the rest. When "
      "the worker\n"
      "dies, the next one goes on with open files and waiting calls (kernel 6.9 or later). "
      "docs/configuration.md says what each key costs.\n"
      "Exit codes: 0 stopped cleanly; 1 failed at run time; 2 mistakes in the configuration, all "
      "of them printed.\n\n"
      "  shufflefs serve --node n1 --mount /shuffle/mnt --data /disk1/shufflefs --data "
      "/disk2/shufflefs \\\n"
      "      --members n2=10.0.0.2:7338 --secret-file /etc/shufflefs/secret\n"
      "  shufflefs serve --config /etc/shufflefs/shufflefs.toml --check\n"
      "  shufflefs serve --config /etc/shufflefs/shufflefs.toml --takeover      the upgrade of a "
      "running node");
  command->callback([command, options, take_over, in_pod, check, &context] {
    Machine machine = this_machine();
    const Start start = in_pod->count() > 0      ? Start::kInPod
                        : take_over->count() > 0 ? Start::kTakeOver
                                                 : Start::kMount;
    machine.will_mount = start == Start::kMount;  // else it may be there already
    const RawConfig flags = options->values(command->remaining());
    const LoadedConfig config = check->count() > 0 ? check_only(flags, options->file(), machine)
                                                   : load_config(flags, options->file(), machine);
    if (!config.mistakes.empty()) {
      std::cerr << describe(config.mistakes);
      context.exit_code = kExitUsage;
    } else if (check->count() > 0) {
      std::cout << "The configuration has no mistakes.\n";
    } else {
      context.exit_code = run_serve(config.settings, start);
    }
  });
}

}  // namespace shufflefs
