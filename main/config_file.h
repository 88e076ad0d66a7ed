// The --config file: TOML whose keys are those of the table in main/config_keys.h; a dotted key is
// in a section
// ([push] chunk-bytes). Start-up only, one thread. A mistake is reported and the reading goes on.
#pragma once

#include <string>
#include <vector>

#include "main/config.h"

namespace shufflefs {

// What the file says of known keys; mistakes (not readable, not TOML, unknown keys, wrong types)
// are appended.
[[nodiscard]] RawConfig read_config_file(const std::string& path, std::vector<Mistake>& mistakes);

// The mistake of a key that does not exist, with the one that was probably meant.
[[nodiscard]] Mistake unknown_key(const std::string& name, std::string value, std::string source);

}  // namespace shufflefs
