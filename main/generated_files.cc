// The list of generated files; the contract is in main/command_docs.h.
#include <CLI/CLI.hpp>

#include "main/command_docs.h"
#include "main/commands.h"
#include "main/config_docs.h"
#include "main/events.h"

namespace shufflefs {

std::vector<GeneratedFile> generated_files() {
  CommandContext context;
  CLI::App app;
  add_all_commands(app, context);
  std::vector<GeneratedFile> files = manual_pages(app);
  files.push_back({"docs/configuration.md", configuration_page()});
  files.push_back({"docs/events.md", events_page()});
  files.push_back({"share/bash-completion/completions/shufflefs", bash_completion(app)});
  files.push_back({"share/zsh/site-functions/_shufflefs", zsh_completion(app)});
  return files;
}

}  // namespace shufflefs
