// One value of a key: from the text that somebody wrote to its place in Settings, and back. What a
// node runs with goes to its worker, and to people, by the same texts.
//
// Pure functions, any thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "main/config_keys.h"
#include "main/settings.h"

namespace shufflefs {

// kConfig with the reason if the text is no value of this key. A list gets one element more.
[[nodiscard]] Status read_value(const ConfigKey& key, const std::string& text, Settings& settings);

// What read_value would take for the same value: one text, or one for each element of a list. None
// for what is not given.
[[nodiscard]] std::vector<std::string> value_texts(const ConfigKey& key, const Settings& settings);

// All of them, as a TOML file that `serve --config` would take.
[[nodiscard]] std::string settings_as_toml(const Settings& settings);

}  // namespace shufflefs
