// The commands and their options as the parser has them, in plain values: what the manual pages and
// the completion are written from. Pure functions.
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

}  // namespace shufflefs
