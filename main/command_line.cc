#include "main/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "base/escape.h"
#include "main/commands.h"
#include "main/did_you_mean.h"

namespace shufflefs {
namespace {

constexpr const char* kFooter =
    "Try it, three nodes on this machine:\n"
    "  shufflefs cluster up --nodes 3 --dir /tmp/shuffle\n"
    "  mkdir /tmp/shuffle/node1/mnt/shuffles/demo/0/maps/.tmp-1    write one file per partition "
    "into it, then\n"
    "  mv .../maps/.tmp-1 .../maps/1                                commits it: its partitions are "
    "merged now\n"
    "  shufflefs wait demo/0 --maps 1 --http 127.0.0.11:7340\n"
    "  cat /tmp/shuffle/node3/mnt/shuffles/demo/0/partitions/0     the whole partition, on any "
    "node\n"
    "  shufflefs cluster down --dir /tmp/shuffle\n\n"
    "status, top, ls, show, verify, wait, drop and log-level ask the node at --http ADDR:PORT, "
    "else\n"
    "SHUFFLEFS_HTTP, else 127.0.0.1:7340.\n"
    "Exit codes: 0 done; 1 it did not work, the message says why; 2 usage or configuration;\n"
    "3 the answer is bad: doctor found a problem, verify a bad copy, wait that it cannot succeed "
    "any more;\n"
    "4 wait: not within the timeout.\n"
    "'shufflefs help COMMAND' explains a command.";

// "shufflefs help cluster up" is "shufflefs cluster up --help".
void turn_help_into_flag(std::vector<std::string>& arguments) {
  if (arguments.empty()) arguments = {"--help"};
  if (arguments.front() != "help") return;
  arguments.erase(arguments.begin());
  arguments.emplace_back("--help");
}

int usage_error(const CLI::App& app, const std::vector<std::string>& arguments,
                const CLI::ParseError& error) {
  std::string message = error.what();
  const bool names_a_command = !arguments.empty() && !arguments.front().starts_with('-');
  std::string where;
  if (names_a_command) {
    std::vector<std::string_view> names;
    for (const CLI::App* const command :
         app.get_subcommands([](const CLI::App*) { return true; })) {
      if (!command->get_group().empty()) names.push_back(command->get_name());
    }
    if (std::find(names.begin(), names.end(), arguments.front()) != names.end()) {
      where = " " + arguments.front();
    } else {
      const auto meant = did_you_mean(arguments.front(), names);
      message = fmt::format("there is no command '{}'{}", arguments.front(),
                            meant ? fmt::format("; did you mean '{}'?", *meant) : "");
    }
  }
  std::cerr << fmt::format("shufflefs: {}\n'shufflefs help{}' explains what can be given.\n",
                           printable(message), where);
  return kExitUsage;
}

}  // namespace

void add_all_commands(CLI::App& app, CommandContext& context) {
  app.description(
      "shufflefs: a shuffle filesystem. Map outputs written through its mount become merged "
      "partitions\n"
      "that every node reads.");
  app.name("shufflefs");
  app.require_subcommand(1);
  app.footer(kFooter);
  app.get_formatter()->column_width(36);
  add_serve_command(app, context);
  add_doctor_command(app, context);
  add_cluster_command(app, context);
  add_status_command(app, context);
  add_top_command(app, context);
  add_ls_command(app, context);
  add_show_command(app, context);
  add_verify_command(app, context);
  add_wait_command(app, context);
  add_drain_command(app, context);
  add_forget_command(app, context);
  add_drop_command(app, context);
  add_log_level_command(app, context);
  add_small_commands(app, context);
  app.add_subcommand("help", "Explain a command: shufflefs help COMMAND");
}

int run_command_line(std::vector<std::string> arguments) {
  CommandContext context;
  CLI::App app;
  add_all_commands(app, context);

  turn_help_into_flag(arguments);
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  if (dashes != arguments.end()) {
    context.after_dashes.assign(dashes + 1, arguments.end());
    arguments.erase(dashes, arguments.end());
    const bool is_cluster_up =
        arguments.size() >= 2 && arguments[0] == "cluster" && arguments[1] == "up";
    if (!is_cluster_up) return complain("only 'cluster up' passes on what follows --", kExitUsage);
  }
  const std::vector<std::string> as_given = arguments;
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return usage_error(app, as_given, error);
  }
  return context.exit_code;
}

}  // namespace shufflefs
