#include "main/serve_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "main/config_keys.h"

namespace shufflefs {
namespace {

std::string help_of(const ConfigKey& key) {
  std::string help(key.help);
  if (key.required())
    help += " Required";
  else
    help +=
        fmt::format(" Default: {}", key.default_text.empty() ? key.default_note : key.default_text);
  if (const std::string range = range_text(key); !range.empty() && key.kind != ValueKind::kSwitch)
    help += fmt::format("; allowed: {}", range);
  if (key.repeatable()) help += "; may be given several times";
  return help + ".";
}

// Takes any text, also none, and any number of times: what is wrong is reported later with
// everything else.
CLI::Option* add_text_option(CLI::App& command, std::string_view name, const std::string& help,
                             std::string_view type) {
  CLI::Option* const option = command.add_option(fmt::format("--{}", name));
  option->description(help)->type_name(std::string(type))->expected(0, 1)->take_all();
  return option;
}

}  // namespace

ServeOptions::ServeOptions(CLI::App& command)
    : file_(add_text_option(command, "config",
                            "A TOML file with the same keys; the command line wins.", "FILE")) {
  for (const ConfigKey& key : config_keys()) {
    options_.emplace_back(key.name,
                          add_text_option(command, key.name, help_of(key), placeholder(key.kind)));
  }
}

bool ServeOptions::any_given() const {
  return file_->count() > 0 ||
         std::ranges::any_of(options_, [](const auto& entry) { return entry.second->count() > 0; });
}

std::optional<std::string> ServeOptions::file() const {
  if (file_->count() == 0) return std::nullopt;
  return file_->results().back();
}

RawConfig ServeOptions::values(const std::vector<std::string>& unknown) const {
  RawConfig values;
  for (const auto& [name, option] : options_) {
    if (option->count() > 0) values[std::string(name)] = {option->results(), "command line"};
  }
  std::string last;
  for (const std::string& word : unknown) {
    if (!word.starts_with("--")) {
      // The value of the unknown flag before it, or a word that belongs to nothing.
      values[last.empty() ? word : last].source = "command line";
      if (!last.empty()) values[last].texts.push_back(word);
      last.clear();
      continue;
    }
    const auto equals = word.find('=');
    last = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    values[last].source = "command line";
    if (equals != std::string::npos)
      values[std::exchange(last, "")].texts.push_back(word.substr(equals + 1));
  }
  return values;
}

}  // namespace shufflefs
