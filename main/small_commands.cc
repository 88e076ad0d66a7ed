// `shufflefs version` and the hidden `generate-docs`; and how commands complain.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "main/commands.h"
#include "main/config_docs.h"
#include "main/version.h"

namespace shufflefs {

int complain(const std::string& message, int exit_code) {
  std::cerr << "shufflefs: " << message << "\n";
  return exit_code;
}

void add_small_commands(CLI::App& app, CommandContext& /*context*/) {
  app.add_subcommand("version", "Print the version")->callback([] {
    std::cout << "shufflefs " << kVersion << "\n";
  });

  app.add_subcommand("generate-docs", "Print docs/configuration.md")->group("")->callback([] {
    std::cout << configuration_page();
  });
}

}  // namespace shufflefs
