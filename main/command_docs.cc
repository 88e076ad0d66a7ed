#include "main/command_docs.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>

#include "base/parse.h"
#include "main/commands.h"
#include "main/config_keys.h"
#include "main/events.h"
#include "main/version.h"
#include "net/messages.h"

namespace shufflefs {
namespace {

// ---- the commands as plain values ----

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

// ---- completion; names of shuffles come from the node that SHUFFLEFS_HTTP names ----

// Commands and the parts of commands that have any, in order.
void for_each_leaf(const std::vector<CommandInfo>& commands,
                   const std::function<void(const CommandInfo&)>& use) {
  for (const CommandInfo& command : commands) {
    if (command.parts.empty())
      use(command);
    else
      for_each_leaf(command.parts, use);
  }
}

std::string words_of(const std::vector<CommandInfo>& commands) {
  std::string words;
  for (const CommandInfo& command : commands)
    words += (words.empty() ? "" : " ") + command.name.substr(command.name.rfind(' ') + 1);
  return words;
}

// What a value of this type can be, as bash's compgen is asked.
std::string bash_values(std::string type) {
  if (type == "DIR") return "-d";
  if (type == "FILE") return "-f";
  if (type == "LEVEL") return "-W \"debug info warning error\"";
  if (type.starts_with("APP")) return "-W \"$(shufflefs ls --names 2>/dev/null)\"";
  if (type.find('|') == std::string::npos) return "";
  std::ranges::replace(type, '|', ' ');
  return "-W \"" + type + "\"";
}

std::string bash_completion(const CLI::App& app) {
  const std::vector<CommandInfo> commands = list_commands(app);
  std::string parts;
  std::string options;
  std::string values;
  for (const CommandInfo& command : commands) {
    if (!command.parts.empty())
      parts += fmt::format("    {}) words=\"{}\" ;;\n", command.name, words_of(command.parts));
  }
  for_each_leaf(commands, [&](const CommandInfo& command) {
    std::string names;
    for (const OptionInfo& option : command.options) {
      if (!option.positional) names += (names.empty() ? "" : " ") + option.name;
      const std::string known = bash_values(option.type);
      if (known.empty()) continue;
      values += fmt::format("    \"{} {}\") COMPREPLY=($(compgen {} -- \"$word\")) ;;\n",
                            command.name, option.positional ? "" : option.name, known);
    }
    options += fmt::format("    \"{}\") words=\"{}\" ;;\n", command.name, names);
  });
  return fmt::format(
      R"(# Completion of shufflefs for bash, generated from the definitions of its commands.
_shufflefs() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command="" words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${{COMP_WORDS[i]}} == -* ]] && break
    command+="${{command:+ }}${{COMP_WORDS[i]}}"
    case $command in
      {}) ;;
      *) break ;;
    esac
  done
  # Values of the option before the cursor, or of the argument.
  [[ $before == -* ]] || before=""
  case "$command $before" in
{}  esac
  ((${{#COMPREPLY[@]}} > 0)) && [[ $word != -* ]] && return
  case $command in
    "") words="{}" ;;
    help) words="{}" ;;
{}{}  esac
  [[ $word != -* && -n $command && $words == -* ]] && return
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F _shufflefs shufflefs
)",
      [&] {
        std::string names;
        for (const CommandInfo& command : commands) {
          if (!command.parts.empty()) names += (names.empty() ? "" : " | ") + command.name;
        }
        return names;
      }(),
      values, words_of(commands), words_of(commands), parts, options);
}

// ---- manual pages, in the format of man(7) ----

// Text as it is: no letter of it is a request.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  return result;
}

std::string line(std::string_view text) {
  const std::string plain = escaped(text);
  return (plain.starts_with('.') || plain.starts_with('\'') ? "\\&" : "") + plain + "\n";
}

std::string as_it_is(std::string_view text) {
  std::string result = ".nf\n";
  for (const std::string_view one : split(text, '\n')) result += line(one);
  return result + ".fi\n";
}

std::string head(const std::string& name, std::string_view help) {
  std::string title;
  for (const char c : name) title += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return fmt::format(
      ".\\\" Generated from the definitions of the commands.\n"
      ".TH {} 1 \"\" \"shufflefs {}\" \"shufflefs\"\n.SH NAME\n{} \\- {}\n",
      escaped(title), kVersion, escaped(name), escaped(help));
}

std::string synopsis(const CommandInfo& command) {
  std::string text = fmt::format(".B shufflefs {}\n", escaped(command.name));
  if (std::ranges::any_of(command.options, [](const auto& option) { return !option.positional; }))
    text += "[\\fIoptions\\fR]\n";
  for (const OptionInfo& option : command.options) {
    if (!option.positional) continue;
    text += option.required ? fmt::format("\\fI{}\\fR\n", escaped(option.name))
                            : fmt::format("[\\fI{}\\fR]\n", escaped(option.name));
  }
  return text;
}

std::string options(const CommandInfo& command) {
  std::string text;
  for (const OptionInfo& option : command.options) {
    text += ".TP\n";
    if (option.positional)
      text += fmt::format("\\fI{}\\fR\n", escaped(option.name));
    else if (option.type.empty())
      text += fmt::format("\\fB{}\\fR\n", escaped(option.name));
    else
      text += fmt::format("\\fB{}\\fR \\fI{}\\fR\n", escaped(option.name), escaped(option.type));
    text += line(option.help);
  }
  return text;
}

std::string file_name(const std::string& page) { return fmt::format("man/man1/{}.1", page); }

GeneratedFile page_of(const CommandInfo& command) {
  const std::string name = "shufflefs-" + command.name;
  std::string text = head(name, command.help) + ".SH SYNOPSIS\n";
  if (command.parts.empty()) {
    text += synopsis(command) + ".SH OPTIONS\n" + options(command);
    if (!command.footer.empty()) text += ".SH NOTES\n" + as_it_is(command.footer);
  } else {
    for (const CommandInfo& part : command.parts) text += synopsis(part) + ".br\n";
    for (const CommandInfo& part : command.parts) {
      text += fmt::format(".SH {}\n{}{}.PP\n{}", escaped(part.name), line(part.help + "."),
                          options(part), as_it_is(part.footer));
    }
  }
  text += ".SH SEE ALSO\n.BR shufflefs (1)\n";
  return {file_name(name), text};
}

std::vector<GeneratedFile> manual_pages(const CLI::App& app) {
  std::vector<GeneratedFile> pages;
  std::string text = head("shufflefs", "a shuffle filesystem for Spark");
  text += ".SH SYNOPSIS\n.B shufflefs\n\\fIcommand\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n" +
          line(app.get_description()) + ".SH COMMANDS\n";
  std::string see_also;
  for (const CommandInfo& command : list_commands(app)) {
    text += fmt::format(".TP\n\\fB{}\\fR\n{}", escaped(command.name), line(command.help + "."));
    // What has no options needs no page.
    if (command.options.size() <= 1 && command.parts.empty()) continue;
    pages.push_back(page_of(command));
    see_also += fmt::format("{}.BR shufflefs\\-{} (1)", see_also.empty() ? "" : " ,\n",
                            escaped(command.name));
  }
  text += ".SH NOTES\n" + as_it_is(app.get_footer()) +
          ".SH ENVIRONMENT\n.TP\n.B SHUFFLEFS_HTTP\nThe node that commands ask, ADDR:PORT.\n"
          ".TP\n.B NO_COLOR\nIf it is set, nothing is coloured.\n.SH SEE ALSO\n" +
          see_also + "\n";
  pages.insert(pages.begin(), {file_name("shufflefs"), text});
  return pages;
}

// ---- docs/configuration.md ----

constexpr std::string_view kConfigurationHead = R"(# Configuration of `shufflefs serve`

<!-- Generated by `shufflefs generate-docs .` from main/config_keys.cc; a test compares them. -->

Every key is a flag (`--push.chunk-bytes 2M`) and a key of the TOML file of `--config FILE`, where a dot stands for a section. Flags win
over the file. A change takes effect at the next start. All mistakes are reported together before anything is mounted, with exit code 2.

```toml
node = "worker-3"
mount = "/shuffle/mnt"
data = ["/disk1/shufflefs", "/disk2/shufflefs"]   # on the command line: --data once for each disk
members = "worker-1=10.0.0.1:7338"                # one that is up is enough
secret-file = "/etc/shufflefs/secret"             # beyond one machine: this, certificates, or insecure
memory = "2G"

[push]
chunk-bytes = "4M"
```

- `SIZE`: bytes, or with K, M, G or T, powers of 1024: `512M`, `4GiB`.
- `DURATION`: with ms, s, m or h: `500ms`, `2m`; a bare number means seconds.
- `ADDR:PORT`: IP address and port: `127.0.0.1:7340`, `[::1]:7340`.

## Keys
)";

std::string default_of(const ConfigKey& key) {
  if (!key.default_text.empty()) return fmt::format("default `{}`", key.default_text);
  if (!key.default_note.empty()) return fmt::format("default {}", key.default_note);
  return "required";
}

// A value that lists its alternatives needs no range.
std::string allowed_of(const ConfigKey& key) {
  if (key.repeatable()) return "several";
  if (key.kind == ValueKind::kAddress) return "";
  return placeholder(key.kind).find('|') == std::string_view::npos ? range_text(key) : "";
}

// Alternatives with a word between them.
std::string value_of(const ConfigKey& key) {
  std::string text;
  for (const std::string_view word : split(placeholder(key.kind), '|'))
    text += fmt::format("{}`{}`", text.empty() ? "" : " or ", word);
  return text;
}

std::string configuration_page() {
  std::string page(kConfigurationHead);
  for (const ConfigKey& key : config_keys()) {
    const std::string allowed = allowed_of(key);
    page += fmt::format("\n### `{}`\n\n{}; {}{}{}.\n{} *Price:* {}\n", key.name, value_of(key),
                        default_of(key), allowed.empty() ? "" : "; ", allowed, key.help, key.price);
  }
  return page;
}

}  // namespace

std::vector<CommandInfo> list_commands(const CLI::App& app) {
  std::vector<CommandInfo> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(command_info(*command, ""));
  }
  return commands;
}

std::vector<GeneratedFile> documentation_files() {
  return {{"docs/configuration.md", configuration_page()},
          {"docs/events.md", events_page()},
          {"docs/messages.md", net::messages_page()}};
}

std::vector<GeneratedFile> installed_files() {
  CommandContext context;
  CLI::App app;
  add_all_commands(app, context);
  std::vector<GeneratedFile> files = manual_pages(app);
  files.push_back({"bash-completion/completions/shufflefs", bash_completion(app)});
  return files;
}

}  // namespace shufflefs
