// What the commands that ask a node have in common: --http, --json, and the name of a shuffle.
// One thread.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "merge/ids.h"

namespace shufflefs {

struct ClientOptions {
  std::string http;  // empty: SHUFFLEFS_HTTP, else the default
  bool json = false;
};

// A command with both options.
[[nodiscard]] CLI::App* add_client_command(CLI::App& app, const std::string& name,
                                           const std::string& help, ClientOptions& options);

// APP/SHUFFLE, or APP/SHUFFLE/PARTITION.
struct ShufflePath {
  merge::ShuffleKey shuffle;
  std::optional<merge::PartitionId> partition;
};
[[nodiscard]] Result<ShufflePath> parse_shuffle_path(const std::string& text);

// A line of JSON on the standard output.
void print_json(const boost::json::value& value);

}  // namespace shufflefs
