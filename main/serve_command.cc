// `shufflefs serve`: the command line of the daemon.
#include <CLI/CLI.hpp>
#include <iostream>

#include "main/commands.h"
#include "main/config.h"
#include "main/serve.h"
#include "main/serve_options.h"

namespace shufflefs {
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
  command->callback([command, options, take_over, in_pod, &context] {
    Machine machine = this_machine();
    const Start start = in_pod->count() > 0      ? Start::kInPod
                        : take_over->count() > 0 ? Start::kTakeOver
                                                 : Start::kMount;
    machine.will_mount = start == Start::kMount;  // else it may be there already
    const LoadedConfig config =
        load_config(options->values(command->remaining()), options->file(), machine);
    if (!config.mistakes.empty()) {
      std::cerr << describe(config.mistakes);
      context.exit_code = kExitUsage;
    } else {
      context.exit_code = run_serve(config.settings, start);
    }
  });
}

}  // namespace shufflefs
