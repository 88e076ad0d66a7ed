// What is generated from the tables of commands, settings and events, so that it cannot say
// anything else: pages of docs/, which a test compares, and what is installed: manual pages and a
// completion for bash. Pure functions.
#pragma once

#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming)
class App;
}  // namespace CLI

namespace shufflefs {

struct OptionInfo {
  std::string name;  // "--http"; for a positional argument as it is called: "APP/SHUFFLE"
  std::string type;  // "ADDR:PORT"; empty: a flag
  std::string help;
  bool positional = false;
  bool required = false;
};

struct CommandInfo {
  std::string name;  // "cluster up"
  std::string help;
  std::string footer;
  std::vector<OptionInfo> options;
  std::vector<CommandInfo> parts;  // subcommands
};

// Hidden commands are left out.
[[nodiscard]] std::vector<CommandInfo> list_commands(const CLI::App& app);

struct GeneratedFile {
  std::string path;
  std::string text;
};

// Paths within the repository: what `shufflefs generate-docs` writes.
[[nodiscard]] std::vector<GeneratedFile> documentation_files();
// Paths below share/ of an installation: what `shufflefs generate-share` writes.
[[nodiscard]] std::vector<GeneratedFile> installed_files();

}  // namespace shufflefs
