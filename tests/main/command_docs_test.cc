// The generated pages of docs/ against the program, docs/commands.md against the commands, and what
// is installed: manual pages, and the completion in a real bash.
#include "main/command_docs.h"

#include <CLI/CLI.hpp>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "main/commands.h"
#include "support/temp_dir.h"

namespace shufflefs {
namespace {

const std::string kSource = SHUFFLEFS_SOURCE_DIR;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<CommandInfo> all_commands() {
  CommandContext context;
  CLI::App app;
  add_all_commands(app, context);
  return list_commands(app);
}

std::string installed(const std::string& path) {
  for (const GeneratedFile& file : installed_files()) {
    if (file.path == path) return file.text;
  }
  return "";
}

// What bash offers after the words; the last one is being typed.
std::string completed(const std::string& words) {
  const testing::TempDir directory;
  const std::string script = directory / "completion";
  std::ofstream(script) << installed("bash-completion/completions/shufflefs");
  const std::string command = "bash -c 'source " + script + "; COMP_WORDS=(shufflefs " + words +
                              "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shufflefs; echo "
                              "${COMPREPLY[@]}' 2>&1";
  FILE* const pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 8192> text{};
  const std::size_t got = std::fread(text.data(), 1, text.size(), pipe);
  ::pclose(pipe);
  std::string result(text.data(), got);
  while (result.ends_with('\n')) result.pop_back();
  return result;
}

}  // namespace

TEST_CASE("generated files: the repository has what the program says") {
  for (const GeneratedFile& file : documentation_files()) {
    INFO(file.path << ": regenerate it: build/shufflefs generate-docs .");
    const bool is_current = text_of(kSource + "/" + file.path) == file.text;
    CHECK(is_current);
  }
}

TEST_CASE("docs/commands.md: every command has a section, and every exit code is there") {
  const std::string page = text_of(kSource + "/docs/commands.md");
  for (const CommandInfo& command : all_commands()) {
    INFO(command.name);
    const bool is_there = page.find("`" + command.name + "`") != std::string::npos;
    CHECK(is_there);
    if (command.name == "help" || command.name == "version") continue;
    const bool has_section = page.find("\n## " + command.name + "\n") != std::string::npos;
    CHECK(has_section);
    for (const OptionInfo& option : command.options) {
      // The keys of serve and doctor are in docs/configuration.md.
      if (option.positional || command.name == "serve" || command.name == "doctor") continue;
      INFO(option.name);
      const bool is_named = page.find(option.name) != std::string::npos;
      CHECK((is_named || option.name == "--help"));
    }
  }
}

TEST_CASE("commands: --json is everywhere where there is an answer") {
  for (const CommandInfo& command : all_commands()) {
    for (const CommandInfo& one :
         command.parts.empty() ? std::vector<CommandInfo>{command} : command.parts) {
      if (one.name == "serve" || one.name == "help" || one.name == "cluster down") continue;
      INFO(one.name);
      CHECK(std::ranges::any_of(one.options,
                                [](const auto& option) { return option.name == "--json"; }));
    }
  }
}

TEST_CASE("manual pages: one for the program and for each command with options, which it names") {
  const std::string program = installed("man/man1/shufflefs.1");
  for (const CommandInfo& command : all_commands()) {
    INFO(command.name);
    if (command.name == "help") continue;
    const std::string page = installed("man/man1/shufflefs-" + command.name + ".1");
    CHECK(page.starts_with(".\\\" Generated"));
    for (const OptionInfo& option : command.options) {
      const std::string help = option.help.substr(0, option.help.find('-'));
      const bool is_there = page.find(help) != std::string::npos;
      CHECK(is_there);
    }
    CHECK(program.find("shufflefs") != std::string::npos);
  }
}

TEST_CASE("completion: commands, parts, options and values, in a real bash") {
  CHECK(completed("sta") == "status");
  CHECK(completed("\"\"").find("verify") != std::string::npos);
  CHECK(completed("cluster \"\"") == "up status down");
  CHECK(completed("cluster up --no") == "--nodes");
  CHECK(completed("wait --ti") == "--timeout");
  CHECK(completed("log-level w") == "warning");
  CHECK(completed("serve --log-format j") == "json");
  CHECK(completed("help dr") == "drain drop");
  CHECK(completed("status --json --ht") == "--http");
  CHECK(completed("serve --config " + kSource + "/READ") == kSource + "/README.md");
  CHECK(completed("ls --json \"\"").find("rror") == std::string::npos);
}

}  // namespace shufflefs
