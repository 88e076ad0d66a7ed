// The one table of configuration keys. The flags of `shufflefs serve`, the reading of the --config
// file, --help, docs/configuration.md, what the supervisor tells its worker and .shufflefs/config
// are all made from it: a key that is not here does not exist, and one that is here is documented
// and reaches the worker.
//
// Values, constant after construction; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "main/settings.h"

namespace shufflefs {

// How a value is written, and so how it is read and checked.
enum class ValueKind {
  kName,
  kPath,  // a directory
  kFile,
  kAddress,
  kMembers,
  kBytes,
  kDuration,
  kCount,
  kSwitch,
  kLevel,
  kLogFormat,
  kReplicate,
  kLocalMode,
  kSparkRelay
};

// "SIZE", "DURATION", ...: for --help and the documentation.
[[nodiscard]] std::string_view placeholder(ValueKind kind);

// Where a value goes.
template <class Value>
using Place = Value& (*)(Settings&);
using Target =
    std::variant<Place<merge::NodeName>, Place<std::string>, Place<std::vector<std::string>>,
                 Place<HostPort>, Place<uint64_t>, Place<uint32_t>, Place<bool>, Place<LogLevel>,
                 Place<LogFormat>, Place<Replicate>, Place<LocalMode>, Place<SparkRelay>,
                 Place<std::chrono::milliseconds>>;

struct ConfigKey {
  std::string_view
      name;  // the flag without its dashes; a dot separates the section of the TOML file
  ValueKind kind{};
  std::string_view default_text{};  // empty: see default_note, or required
  std::string_view default_note{};  // a default that depends on others, in words
  uint64_t least = 0;               // range of bytes, counts and durations (in milliseconds)
  uint64_t most = 0;
  std::string_view help;
  std::string_view price;  // what raising or changing it costs
  Target target;
  bool may_be_empty = false;  // an address that is switched off by an empty text

  [[nodiscard]] bool required() const { return default_text.empty() && default_note.empty(); }
  [[nodiscard]] bool repeatable() const {
    return std::holds_alternative<Place<std::vector<std::string>>>(target);
  }
};

[[nodiscard]] std::span<const ConfigKey> config_keys();
[[nodiscard]] const ConfigKey* find_config_key(std::string_view name);

// "16 MiB to 1 TiB", "0 to 100", "true or false": empty where any value of the kind will do.
[[nodiscard]] std::string range_text(const ConfigKey& key);
// A bound as it would be written: "64M", "500ms", "16".
[[nodiscard]] std::string bound_text(const ConfigKey& key, uint64_t bound);

}  // namespace shufflefs
