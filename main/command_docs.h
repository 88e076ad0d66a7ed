// Manual pages and shell completion, made from the definitions of the commands, so that they cannot
// say anything else; and the list of all generated files of the repository, which a test compares.
// Pure functions.
#pragma once

#include <string>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming)
class App;
}  // namespace CLI

namespace shufflefs {

struct GeneratedFile {
  std::string path;  // within the repository
  std::string text;
};

// A page of section 1 for the program, and one for each of its commands.
[[nodiscard]] std::vector<GeneratedFile> manual_pages(const CLI::App& app);
[[nodiscard]] std::string bash_completion(const CLI::App& app);
[[nodiscard]] std::string zsh_completion(const CLI::App& app);

// Everything that `shufflefs generate-docs` writes.
[[nodiscard]] std::vector<GeneratedFile> generated_files();

}  // namespace shufflefs
