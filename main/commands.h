// The command line: which commands there are, help, usage errors. Each command registers itself
// with the parser, and leaves its exit code in the context when it runs.
//
// One thread, before and outside of the daemon (serve excepted).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming)
class App;
}  // namespace CLI

namespace shufflefs {

// Stable: scripts rely on them (docs/commands.md).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;     // it did not work: the message says why
inline constexpr int kExitUsage = 2;       // wrong command line or configuration
inline constexpr int kExitImpossible = 3;  // wait: it can no longer succeed
inline constexpr int kExitBad = 3;         // verify, doctor: it worked, and something is wrong
inline constexpr int kExitTimeout = 4;     // wait: not yet
inline constexpr int kExitUnmounted = 5;   // worker: somebody has unmounted us

struct CommandContext {
  std::vector<std::string> after_dashes;  // what stands after "--"
  int exit_code = kExitOk;
};

void add_serve_command(CLI::App& app, CommandContext& context);
void add_cluster_command(CLI::App& app, CommandContext& context);
void add_doctor_command(CLI::App& app, CommandContext& context);
void add_status_command(CLI::App& app, CommandContext& context);
void add_top_command(CLI::App& app, CommandContext& context);
void add_ls_command(CLI::App& app, CommandContext& context);
void add_show_command(CLI::App& app, CommandContext& context);
void add_verify_command(CLI::App& app, CommandContext& context);
void add_wait_command(CLI::App& app, CommandContext& context);
void add_drain_command(CLI::App& app, CommandContext& context);
void add_forget_command(CLI::App& app, CommandContext& context);
void add_drop_command(CLI::App& app, CommandContext& context);
void add_log_level_command(CLI::App& app, CommandContext& context);
// version, and hidden ones that the program itself or a build runs.
void add_small_commands(CLI::App& app, CommandContext& context);

// All of them, with the program's own help: what the parser, the manual pages and the completion
// are made from.
void add_all_commands(CLI::App& app, CommandContext& context);

// "shufflefs: <message>" to stderr; returns `exit_code`.
int complain(const std::string& message, int exit_code);

// The whole program: `arguments` without its name; returns the exit code.
[[nodiscard]] int run_command_line(std::vector<std::string> arguments);

// The remedy for a misspelt name: the closest known one, if one is close enough to be meant.
[[nodiscard]] std::optional<std::string> did_you_mean(std::string_view written,
                                                      const std::vector<std::string_view>& known);

}  // namespace shufflefs
