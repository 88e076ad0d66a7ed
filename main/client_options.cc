#include "main/client_options.h"

#include <iostream>

#include "base/json_text.h"
#include "base/parse.h"

namespace shufflefs {

CLI::App* add_client_command(CLI::App& app, const std::string& name, const std::string& help,
                             ClientOptions& options) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->add_flag("--json", options.json, "Print JSON instead of text");
  command
      ->add_option("--http", options.http,
                   "The node to ask (default: SHUFFLEFS_HTTP, else 127.0.0.1:7340)")
      ->type_name("ADDR:PORT");
  return command;
}

Result<ShufflePath> parse_shuffle_path(const std::string& text) {
  const auto parts = split(text, '/');
  ShufflePath path;
  if (parts.size() != 3) {
    TRY_ASSIGN(path.shuffle, merge::parse_shuffle_key(text));
    return path;
  }
  TRY_ASSIGN(path.shuffle, merge::parse_shuffle_key(text.substr(0, text.rfind('/'))));
  TRY_ASSIGN(path.partition, merge::parse_partition_id(parts[2]));
  return path;
}

void print_json(const boost::json::value& value) { std::cout << json_text(value) << "\n"; }

}  // namespace shufflefs
