// `shufflefs version` and the hidden `generate-docs [DIR|PATH]`; and how commands complain.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/escape.h"
#include "main/client_options.h"
#include "main/command_docs.h"
#include "main/commands.h"
#include "main/mount_names.h"
#include "main/mount_probe.h"
#include "main/version.h"
#include "main/worker.h"

namespace shufflefs {
namespace {

// Writes all generated files below a directory, or prints the one of a path within the repository.
int run_generate_docs(const std::string& what) {
  const bool is_directory = std::filesystem::is_directory(what);
  bool found = false;
  for (const GeneratedFile& file : generated_files()) {
    if (!is_directory && file.path != what) continue;
    found = true;
    if (!is_directory) {
      std::cout << file.text;
      continue;
    }
    const std::filesystem::path path = std::filesystem::path(what) / file.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream out(path, std::ios::trunc);
    if (!(out << file.text).flush()) return complain("cannot write " + path.string(), kExitFailure);
  }
  if (found) return kExitOk;
  return complain("'" + what + "' is neither a directory nor a generated file", kExitUsage);
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

  CLI::App* const probe = app.add_subcommand("probe", "What /readyz runs")->group("");
  probe->allow_extras();
  probe->callback([&context, probe] {
    const std::vector<std::string> mounts = probe->remaining();
    context.exit_code = mounts.size() == 1 ? probe_mount(mounts.front()) : kExitUsage;
  });

  auto what = std::make_shared<std::string>("docs/configuration.md");
  CLI::App* const generate =
      app.add_subcommand("generate-docs", "Write all generated files, or print one")->group("");
  generate->add_option("what", *what, "A directory, or a path such as docs/events.md");
  generate->callback([what, &context] { context.exit_code = run_generate_docs(*what); });
}

}  // namespace shufflefs
