// From the command line and the --config file to Settings. The command line wins over the file, the
// file over the defaults. Every mistake is found in one go, before anything is mounted, each with
// the key, the value, what is wrong and what to do about it.
//
// Start-up only, one thread. Cost: reads the file and looks at the named directories; changes
// nothing.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "main/config_keys.h"
#include "main/settings.h"

namespace shufflefs {

struct Mistake {
  std::string key;    // empty where it is no key's fault
  std::string value;  // as it was written
  std::string
      source;  // "command line", "shufflefs.toml line 3"; empty for a missing or default value
  std::string reason;
  std::string remedy;
};

// What was written for one key, before it is understood.
struct RawValue {
  std::vector<std::string> texts;
  std::string source;
};
using RawConfig = std::map<std::string, RawValue, std::less<>>;

struct LoadedConfig {
  Settings settings;  // meaningful only without mistakes
  std::vector<Mistake> mistakes;
};

// What the machine offers; a parameter so that tests can take it away.
struct Machine {
  bool is_root = true;
  bool has_fuse_device = true;
  // False where the mount is there already (a worker, a takeover): it is not touched then, as
  // nobody might answer.
  bool will_mount = true;
};
[[nodiscard]] Machine this_machine();

// `command_line` holds flags by name, unknown ones included; `file` is the --config file, if one
// was given.
[[nodiscard]] LoadedConfig load_config(const RawConfig& command_line,
                                       const std::optional<std::string>& file,
                                       const Machine& machine);

// What a configuration file says of one key; nothing if there is no such file or key. Cost: reads
// the file.
[[nodiscard]] std::optional<std::string> value_in_file(const std::string& file,
                                                       std::string_view key);

// Several lines for people: what is wrong, one paragraph a mistake, and how many there are.
[[nodiscard]] std::string describe(const std::vector<Mistake>& mistakes);

// What one value alone does not show: keys that contradict each other, directories that do not fit,
// a machine that cannot mount. A key that was not read well is left out, so that one mistake is not
// reported twice.
void check_config(const Settings& settings,
                  const std::function<bool(std::string_view key)>& is_good, const Machine& machine,
                  std::vector<Mistake>& mistakes);

// Whether a server at this address can only be reached from the same machine.
[[nodiscard]] bool is_loopback(const std::string& host);

// kConfig with the reason if the text is no value of this key. A list gets one element more.
[[nodiscard]] Status read_value(const ConfigKey& key, const std::string& text, Settings& settings);

// What read_value would take for the same value: one text, or one for each element of a list. None
// for what is not given.
[[nodiscard]] std::vector<std::string> value_texts(const ConfigKey& key, const Settings& settings);

// All of them, as a TOML file that `serve --config` would take.
[[nodiscard]] std::string settings_as_toml(const Settings& settings);

}  // namespace shufflefs
