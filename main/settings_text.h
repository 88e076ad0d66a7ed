// The settings that a node runs with, as a TOML file that `serve --config` would take: what
// .shufflefs/config shows.
#pragma once

#include <string>

#include "main/settings.h"

namespace shufflefs {

[[nodiscard]] std::string settings_as_toml(const Settings& settings);

}  // namespace shufflefs
