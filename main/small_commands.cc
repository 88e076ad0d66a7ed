// `shufflefs version` and the hidden `generate-docs`; and how commands complain.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "main/commands.h"
#include "main/config_docs.h"
#include "main/mount_probe.h"
#include "main/version.h"
#include "main/worker.h"

namespace shufflefs {

int complain(const std::string& message, int exit_code) {
  std::cerr << "shufflefs: " << message << "\n";
  return exit_code;
}

void add_small_commands(CLI::App& app, CommandContext& context) {
  app.add_subcommand("version", "Print the version")->callback([] {
    std::cout << "shufflefs " << kVersion << "\n";
  });

  CLI::App* const worker = app.add_subcommand("worker", "What 'serve' starts")->group("");
  worker->allow_extras();  // the node's name, for ps
  worker->callback([&context] { context.exit_code = run_worker(); });

  CLI::App* const probe = app.add_subcommand("probe", "What /readyz runs")->group("");
  probe->allow_extras();
  probe->callback([&context, probe] {
    const std::vector<std::string> mounts = probe->remaining();
    context.exit_code = mounts.size() == 1 ? probe_mount(mounts.front()) : kExitUsage;
  });

  app.add_subcommand("generate-docs", "Print docs/configuration.md")->group("")->callback([] {
    std::cout << configuration_page();
  });
}

}  // namespace shufflefs
