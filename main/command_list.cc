#include "main/command_list.h"

#include <CLI/CLI.hpp>

namespace shufflefs {
namespace {

OptionInfo option_info(const CLI::Option& option) {
  OptionInfo info;
  info.positional = option.get_positional();
  info.type = option.get_expected_max() == 0 ? "" : option.get_type_name();
  info.name = info.positional ? info.type : "--" + option.get_lnames().front();
  info.help = option.get_description();
  info.required = option.get_required();
  return info;
}

CommandInfo command_info(const CLI::App& app, const std::string& prefix) {
  CommandInfo info;
  info.name = prefix + app.get_name();
  info.help = app.get_description();
  info.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) info.options.push_back(option_info(*option));
  for (const CLI::App* part : app.get_subcommands([](const CLI::App*) { return true; }))
    info.parts.push_back(command_info(*part, info.name + " "));
  return info;
}

}  // namespace

std::vector<CommandInfo> list_commands(const CLI::App& app) {
  std::vector<CommandInfo> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(command_info(*command, ""));
  }
  return commands;
}

}  // namespace shufflefs
