// What one value alone does not show: keys that contradict each other, directories that do not fit,
// a machine that cannot mount. Looks, and changes nothing.
//
// Start-up only, one thread. A key that was not read well is left out, so that one mistake is not
// reported twice.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "main/config.h"

namespace shufflefs {

void check_config(const Settings& settings,
                  const std::function<bool(std::string_view key)>& is_good, const Machine& machine,
                  std::vector<Mistake>& mistakes);

// Absolute, without ".", ".." and trailing slashes; symbolic links stay.
[[nodiscard]] std::string absolute_path(const std::string& path);

}  // namespace shufflefs
