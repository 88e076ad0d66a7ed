// The keys of the configuration as flags of a command, made from the table of keys: for `serve`,
// and for `doctor`, which is told the same. Values stay text here: main/config.h understands and
// checks them, so that all mistakes are reported together.
//
// One thread. Ownership: the options are the command's.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "main/config.h"

namespace shufflefs {

class ServeOptions {
 public:
  explicit ServeOptions(CLI::App& command);

  [[nodiscard]] bool any_given() const;
  // The --config file, if one was given.
  [[nodiscard]] std::optional<std::string> file() const;
  // Flags by name, with those of `unknown` (the command's remaining words).
  [[nodiscard]] RawConfig values(const std::vector<std::string>& unknown) const;

 private:
  CLI::Option* file_;
  std::vector<std::pair<std::string_view, CLI::Option*>> options_;
};

}  // namespace shufflefs
