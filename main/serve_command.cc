// `shufflefs serve`: the command line of the daemon, made from the table of keys. Values stay text
// here: main/config.h understands and checks them, so that all mistakes are reported together.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "main/commands.h"
#include "main/config.h"
#include "main/config_file.h"
#include "main/config_keys.h"
#include "main/serve.h"

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

RawConfig raw_config(const std::vector<std::pair<std::string_view, CLI::Option*>>& options,
                     const std::vector<std::string>& unknown) {
  RawConfig values;
  for (const auto& [name, option] : options) {
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

}  // namespace

void add_serve_command(CLI::App& app, CommandContext& context) {
  CLI::App* const command =
      app.add_subcommand("serve", "Run a node: mount, merge, answer the other nodes");
  CLI::Option* const file = add_text_option(
      *command, "config", "A TOML file with the same keys; the command line wins.", "FILE");
  std::vector<std::pair<std::string_view, CLI::Option*>> options;
  for (const ConfigKey& key : config_keys()) {
    options.emplace_back(key.name,
                         add_text_option(*command, key.name, help_of(key), placeholder(key.kind)));
  }
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
  command->allow_extras();
  command->footer(
      "It runs in the foreground, logs to the standard error, and stops within 10 s of SIGTERM; a "
      "second\n"
      "signal ends it at once. A small supervisor holds the mount, a worker process does the rest: "
      "when the\n"
      "worker dies, another takes its place, and open files and waiting calls go on. "
      "docs/configuration.md says what each key costs.\n"
      "Exit codes: 0 stopped cleanly; 1 failed at run time; 2 mistakes in the configuration, all "
      "of them printed.\n\n"
      "  shufflefs serve --node n1 --mount /shuffle/mnt --data /disk1/shufflefs --data "
      "/disk2/shufflefs \\\n"
      "      --members n1=10.0.0.1:7338,n2=10.0.0.2:7338\n"
      "  shufflefs serve --config /etc/shufflefs.toml --log-level debug\n"
      "  shufflefs serve --config /etc/shufflefs.toml --takeover      the upgrade of a running "
      "node");
  command->callback([command, file, options, take_over, in_pod, &context] {
    std::optional<std::string> path;
    if (file->count() > 0) path = file->results().back();
    Machine machine = this_machine();
    const Start start = in_pod->count() > 0      ? Start::kInPod
                        : take_over->count() > 0 ? Start::kTakeOver
                                                 : Start::kMount;
    machine.will_mount = start == Start::kMount;  // else it may be there already
    const LoadedConfig config =
        load_config(raw_config(options, command->remaining()), path, machine);
    if (!config.mistakes.empty()) {
      std::cerr << describe(config.mistakes);
      context.exit_code = kExitUsage;
    } else {
      context.exit_code = run_serve(config.settings, start);
    }
  });
}

}  // namespace shufflefs
