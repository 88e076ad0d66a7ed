#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/object.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>

#include "base/escape.h"
#include "main/client.h"
#include "main/command_docs.h"
#include "main/commands.h"
#include "main/mounts.h"
#include "main/version.h"
#include "main/worker.h"

namespace shufflefs {
namespace {

// Levenshtein's distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// "max-retries" and "push.maxretries" both mean push.max-retries.
std::string folded(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != '.')
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

}  // namespace

std::optional<std::string> did_you_mean(std::string_view written,
                                        const std::vector<std::string_view>& known) {
  if (written.size() > 64) return std::nullopt;
  const std::string wanted = folded(written);
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;
  for (const std::string_view name : known) {
    const std::string whole = folded(name);
    std::size_t distance = edit_distance(wanted, whole);
    if (wanted.size() >= 4 && whole.ends_with(wanted))
      distance = std::min<std::size_t>(distance, 1);
    if (distance < best_distance) {
      best_distance = distance;
      best = std::string(name);
    }
  }
  return best;
}

namespace {

constexpr const char* kFooter =
    "Try it, three nodes on this machine:\n"
    "  shufflefs cluster up --nodes 3 --dir /tmp/shuffle\n"
    "  mkdir -p /tmp/shuffle/node1/mnt/shuffles/demo/0/maps/.tmp-1  write a file for each "
    "partition "
    "into it, then\n"
    "  mv .../maps/.tmp-1 .../maps/1                                commits it: it is merged now\n"
    "  shufflefs wait demo/0 --maps 1 --http 127.0.0.11:7340\n"
    "  cat /tmp/shuffle/node3/mnt/shuffles/demo/0/partitions/0     the whole partition, on any "
    "node\n"
    "  shufflefs cluster down --dir /tmp/shuffle\n\n"
    "All commands but serve, cluster and version ask the node at --http ADDR:PORT, else at\n"
    "SHUFFLEFS_HTTP, else at http-listen of /etc/shufflefs/shufflefs.toml, else at "
    "127.0.0.1:7340;\n"
    "with the token in SHUFFLEFS_HTTP_TOKEN_FILE, else in that configuration's "
    "http-token-file.\n"
    "Exit codes: 0 done; 1 it did not work, the message says why; 2 usage or configuration;\n"
    "3 the answer is bad: doctor found a problem, verify a bad copy, wait and drain cannot "
    "succeed;\n"
    "4 wait and drain: not within the timeout.\n"
    "'shufflefs help COMMAND' explains a command.";

int usage_error(const CLI::App& app, const std::vector<std::string>& arguments,
                const CLI::ParseError& error) {
  std::string message = error.what();
  std::string where;
  if (!arguments.empty() && !arguments.front().starts_with('-')) {
    std::vector<std::string> names;
    for (const CommandInfo& command : list_commands(app)) names.push_back(command.name);
    if (std::ranges::find(names, arguments.front()) != names.end()) {
      where = " " + arguments.front();
    } else {
      const auto meant = did_you_mean(arguments.front(), {names.begin(), names.end()});
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

  if (arguments.empty()) arguments = {"--help"};
  // "shufflefs help cluster up" is "shufflefs cluster up --help".
  if (arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
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

namespace {

int write_files(const std::vector<GeneratedFile>& files, const std::string& directory) {
  for (const GeneratedFile& file : files) {
    const std::filesystem::path path = std::filesystem::path(directory) / file.path;
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    std::ofstream out(path, std::ios::trunc);
    if (!(out << file.text).flush()) return complain("cannot write " + path.string(), kExitFailure);
  }
  return kExitOk;
}

void add_version(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const command = app.add_subcommand("version", "Print the version");
  command->add_flag("--json", *json, "Print JSON instead of text");
  command->callback([json] {
    if (*json)
      print_json(boost::json::object{{"version", kVersion}});
    else
      std::cout << "shufflefs " << kVersion << "\n";
  });
}

}  // namespace

int complain(const std::string& message, int exit_code) {
  std::cerr << "shufflefs: " << printable_lines(message) << "\n";
  return exit_code;
}

void add_small_commands(CLI::App& app, CommandContext& context) {
  add_version(app);

  CLI::App* const worker = app.add_subcommand("worker", "What 'serve' starts")->group("");
  worker->allow_extras();  // the node's name, for ps
  worker->callback([&context] { context.exit_code = run_worker(); });
  CLI::App* const remover = app.add_subcommand("forget-names", "What a worker starts")->group("");
  remover->allow_extras();
  remover->callback([remover] { remove_names(remover->remaining()); });

  CLI::App* const binder = app.add_subcommand("bind-local", "What a worker starts")->group("");
  binder->allow_extras();
  binder->callback([&context, binder] { context.exit_code = bind_each(binder->remaining()); });

  CLI::App* const probe = app.add_subcommand("probe", "What /readyz runs")->group("");
  probe->allow_extras();
  probe->callback([&context, probe] {
    const std::vector<std::string> mounts = probe->remaining();
    context.exit_code = mounts.size() == 1 ? probe_mount(mounts.front()) : kExitUsage;
  });

  const auto add_generator = [&](const char* name, const char* help,
                                 std::vector<GeneratedFile> (*files)()) {
    const auto directory = std::make_shared<std::string>(".");
    CLI::App* const generate = app.add_subcommand(name, help)->group("");
    generate->add_option("directory", *directory, "Where to write them")->type_name("DIR");
    generate->callback(
        [directory, files, &context] { context.exit_code = write_files(files(), *directory); });
  };
  add_generator("generate-docs", "Write the generated pages of docs/", documentation_files);
  add_generator("generate-share", "Write what is installed below share/", installed_files);
}

}  // namespace shufflefs
